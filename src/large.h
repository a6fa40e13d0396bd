/*
 * large: direct mappings, one to a block, for what does not fit a run.
 *
 * A mapping starts at a multiple of 2 MiB, so that nothing else shares its place in the registry.
 * Freed mappings are kept for a while for reuse: lock(large); they are not in the registry then.
 * Descriptors in use belong to a heap: lock(heap) guards the links.
 */
#ifndef HK_LARGE_H
#define HK_LARGE_H

#include "registry.h"

struct hk_heap;

typedef struct hk_large {
    hk_region_t region;
    bool fresh;    /* const while in use: the pages are as the system zeroed them */
    bool walled;   /* const: retire's, between pages without access */
    char *address; /* owner: who holds the block */
    size_t bytes;  /* owner: mapped, a multiple of the page size */
    size_t size;   /* owner: what the holder may use */
    size_t room; /* owner: if walled, bytes and what is without access behind them, to grow into */
    struct hk_heap *heap;       /* const while in use */
    struct hk_large *next;      /* lock(heap) */
    struct hk_large *prev;      /* lock(heap) */
    uint64_t freed_ms;          /* lock(large): while kept */
    struct hk_large *used_next; /* lock(large): while in use */
    struct hk_large *used_prev; /* lock(large) */
} hk_large_t;

/* A block of at least bytes at a multiple of alignment; NULL if there is no memory.  Kept mappings
 * are used up before the process grows: one that is too large is cut, one that is too small is
 * extended, by moving its pages if it must. */
hk_large_t *hk_large_allocate(size_t bytes, size_t alignment);

/* The same for a block that will grow: a kept mapping that is too large is not cut, but for what is
 * beyond twice as much; the block grows into the rest without a call to the system. */
hk_large_t *hk_large_allocate_growing(size_t bytes);

/* It is out of the map. */
void hk_large_free(hk_large_t *large);

/* What the block's holder may use. */
static inline size_t hk_large_usable_bytes(const hk_large_t *large)
{
    return large->size;
}

/* Resizes the block, moving it without a copy if it must; false leaves it as it was. */
bool hk_large_resize(hk_large_t *large, size_t bytes);

/* Gives kept mappings back that were freed at or before the time; returns their bytes. */
size_t hk_large_decay(uint64_t until_ms);

/* Gives so many bytes of one kept mapping back, or all that the oldest has; returns them. */
size_t hk_large_cut_kept(size_t bytes);

/* Calls visit for each mapping in use, whose holder may be resizing it, and for each kept one;
 * under lock(large). */
void hk_large_each_used(void (*visit)(const hk_large_t *large, void *context), void *context);
void hk_large_each_kept(void (*visit)(const void *address, size_t bytes, void *context),
                        void *context);

/* The bytes of all direct mappings in use, retire's included.  retire enters and leaves its own;
 * add_used takes a wrapping difference. */
size_t hk_large_used_bytes(void);
void hk_large_enter_used(hk_large_t *large);
void hk_large_leave_used(hk_large_t *large);
void hk_large_add_used(size_t bytes);
size_t hk_large_kept_bytes(void);

/* Given back to the system so far; retire adds its own. */
size_t hk_large_purged_bytes(void);
void hk_large_add_purged(size_t bytes);

/* In a forked child. */
void hk_large_reset_lock(void);

#endif
