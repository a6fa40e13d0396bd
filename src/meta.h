/*
 * meta: the allocator's own memory: descriptors, heaps, caches, magazines.  It lies apart from all
 * blocks, is never given back to the system, and is recycled by kind.
 *
 * lock(meta) guards everything.  Memory is zeroed when it is first handed out; recycled memory is
 * not.
 */
#ifndef HK_META_H
#define HK_META_H

#include "base.h"

typedef enum hk_meta_kind {
    HK_META_MAGAZINE, /* and the three kinds after it */
    HK_META_SUPERSLAB = HK_META_MAGAZINE + 4,
    HK_META_HEAP,
    HK_META_CACHE,
    HK_META_LARGE,
    HK_META_QUARANTINE, /* a thread's; a first-class heap's is the next one */
    HK_META_GUARD = HK_META_QUARANTINE + 2,
    HK_META_KINDS,
} hk_meta_kind_t;

/* Processors fetch cache lines in pairs, so two threads that write to the lines of one pair wait
 * for one another as if it were one line. */
#define HK_META_ALIGNMENT ((size_t)2 * HK_CACHE_LINE)

/* Memory of bytes, aligned to and rounded up to HK_META_ALIGNMENT; NULL if there is none.  One kind
 * always asks for the same size. */
void *hk_meta_allocate(hk_meta_kind_t kind, size_t bytes);
void hk_meta_free(hk_meta_kind_t kind, void *memory);

/* Frees and takes a bundle: one object, and however many others the caller has linked to it.  The
 * lock is taken once for all of them.  The first object's first word is overwritten.  Taking
 * returns NULL if there is no bundle; hk_meta_allocate never takes a bundle apart. */
void *hk_meta_take_bundle(hk_meta_kind_t kind);
void hk_meta_free_bundle(hk_meta_kind_t kind, void *first);

/* Bytes taken from the system so far. */
size_t hk_meta_bytes(void);

/* Calls visit for each chunk of this memory.  Chunks are never given back, so no lock is held. */
void hk_meta_each_chunk(void (*visit)(const void *address, size_t bytes, void *context),
                        void *context);

/* In a forked child. */
void hk_meta_reset_lock(void);

#endif
