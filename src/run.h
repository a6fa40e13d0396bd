/*
 * run: blocks that are runs of whole pages, from HK_SMALL_MAX up to HK_RUN_BYTES_MAX, for all
 * heaps.
 *
 * Runs are cut out of areas (run_area.h).  The smallest free run that is large enough is taken, and
 * resident ones are looked through before others.  So freed memory is used again before the process
 * grows, whatever the size of the next block.
 */
#ifndef HK_RUN_H
#define HK_RUN_H

#include "run_area.h"

/* Returns a block of bytes, at most HK_RUN_BYTES_MAX, at a multiple of alignment, at most 2 MiB.
 * *fresh tells whether it is still as the system zeroed it.  NULL if there is no memory. */
hk_run_t *hk_run_allocate(size_t bytes, size_t alignment, bool *fresh);

/* The same, but only out of a free run with resident pages; NULL if there is none. */
hk_run_t *hk_run_allocate_warm(size_t bytes, bool *fresh);

/* The run of a block in the area; NULL if no block starts at the address. */
hk_run_t *hk_run_find(hk_run_area_t *area, const void *address);

/* Whether the address lies in a block, at its start or further in: for messages. */
bool hk_run_covers(hk_run_area_t *area, const void *address);

/* Frees the block; false, and nothing done, if it is free already. */
bool hk_run_free(hk_run_t *run);

/* Resizes the block in place; false leaves it as it was.  bytes is at most HK_RUN_BYTES_MAX. */
bool hk_run_resize(hk_run_t *run, size_t bytes);

/* Gives resident free pages beyond keep_bytes back to the system, the largest runs first, and
 * unmaps areas without a block.  Call without any lock held; returns the bytes given back. */
size_t hk_run_purge(size_t keep_bytes);

/* As hk_pool_maintain. */
size_t hk_run_maintain(uint64_t now_ms, size_t *left);

/* How much of a block of bytes would lie in free pages that are resident already. */
size_t hk_run_reused_bytes(size_t bytes);

size_t hk_run_used_bytes(void);       /* in blocks */
size_t hk_run_warm_bytes(void);       /* free and resident */
size_t hk_run_mapped_bytes(void);     /* in areas */
size_t hk_run_descriptor_bytes(void); /* in the descriptors of areas */
size_t hk_run_purged_bytes(void);     /* given back so far */

/* In a forked child. */
void hk_run_reset_lock(void);

static inline void *hk_run_address(const hk_run_t *run)
{
    return run->area->base + (hk_run_area_first(run) << run->area->page_shift);
}

/* The usable bytes of a block. */
static inline size_t hk_run_bytes(const hk_run_t *run)
{
    return hk_run_area_pages(run) << run->area->page_shift;
}

#endif
