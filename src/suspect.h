/*
 * suspect: whether a block with a clear live bit is really free, and what is said of an address
 * that is no block.
 *
 * In a heap that has one thread a clear bit is proof.  Threads that share a heap may undo each
 * other's writes of neighbouring bits (live.h).  So there the block is looked for, and if it is
 * found nowhere the process goes on.
 */
#ifndef HK_SUSPECT_H
#define HK_SUSPECT_H

#include "cache.h"
#include "run_area.h"

/* Ends the process if no block of a slab starts there, or if the block is free; returns if it may
 * be live.  The message starts with `what`, or for a free block with what_if_free.  cache is the
 * calling thread's, or NULL.  No lock may be held. */
HK_COLD void hk_suspect_check(const hk_cache_t *cache, const void *block, const char *what,
                              const char *what_if_free);

/* The same for a block of a first-class heap, whose bitmap tells. */
void hk_suspect_check_owned(const hk_slab_t *slab, const void *block, const char *what,
                            const char *what_if_free);

/* End the process with a line about an address where HAKMEM has no block; or where none starts in
 * an area. */
HK_COLD _Noreturn void hk_suspect_reject_foreign(const char *what, const void *block);
HK_COLD _Noreturn void hk_suspect_reject_run(const char *what, hk_run_area_t *area,
                                             const void *block);

#endif
