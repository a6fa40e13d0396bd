/*
 * suspect: whether a block whose live bit is clear is free indeed, and what is said of an address
 * that is none.
 *
 * In a heap that has one thread a clear bit is proof.  Threads that share a heap may undo each
 * other's writes of neighbouring bits (live.h), so there the block is looked for, and the process
 * goes on if it is found nowhere.
 */
#ifndef HK_SUSPECT_H
#define HK_SUSPECT_H

#include "cache.h"
#include "run_area.h"

/* Ends the process if no block of a slab starts there or the block is free; returns if it may be
 * live.  The message starts with what, or for a free block with what_if_free.  cache is the calling
 * thread's, or NULL.  No lock is held. */
HK_COLD void hk_suspect_check(const hk_cache_t *cache, const void *block, const char *what,
                              const char *what_if_free);

/* Ends the process with a line on an address where no block of HAKMEM is, or none in the area
 * starts. */
HK_COLD _Noreturn void hk_suspect_reject_foreign(const char *what, const void *block);
HK_COLD _Noreturn void hk_suspect_reject_run(const char *what, hk_run_area_t *area,
                                             const void *block);

#endif
