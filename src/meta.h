/*
 * meta: the allocator's own memory: descriptors, heaps, caches, magazines.  Apart from all blocks,
 * never given back to the system, recycled by kind.
 *
 * lock(meta) guards everything.  Memory is zeroed when it is first handed out; recycled memory is
 * not.
 */
#ifndef HK_META_H
#define HK_META_H

#include "base.h"

typedef enum hk_meta_kind {
    HK_META_MAGAZINE, /* and the three kinds behind it */
    HK_META_SUPERSLAB = HK_META_MAGAZINE + 4,
    HK_META_HEAP,
    HK_META_CACHE,
    HK_META_LARGE,
    HK_META_QUARANTINE, /* a thread's, and that of a first-class heap behind it */
    HK_META_GUARD = HK_META_QUARANTINE + 2,
    HK_META_KINDS,
} hk_meta_kind_t;

/* Memory of bytes, aligned to a cache line; NULL if there is none.  One kind always asks for the
 * same size. */
void *hk_meta_allocate(hk_meta_kind_t kind, size_t bytes);
void hk_meta_free(hk_meta_kind_t kind, void *memory);

/* The same for a bundle, however many objects the caller has tied to the first one: the lock is
 * taken once for them all.  The first word of the first one is lost.  NULL if there is no bundle;
 * allocating does not untie one. */
void *hk_meta_take_bundle(hk_meta_kind_t kind);
void hk_meta_free_bundle(hk_meta_kind_t kind, void *first);

/* Bytes taken from the system so far. */
size_t hk_meta_bytes(void);

/* Calls visit for each chunk of it.  Chunks never go, so no lock is held. */
void hk_meta_each_chunk(void (*visit)(const void *address, size_t bytes, void *context),
                        void *context);

/* In a forked child. */
void hk_meta_reset_lock(void);

#endif
