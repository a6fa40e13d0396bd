/*
 * suspect: whether a block whose live bit is clear is free indeed.
 *
 * In a heap that has one thread a clear bit is proof.  Threads that share a heap may undo each other's writes of
 * neighbouring bits (live.h), so there the block is looked for, and the process goes on if it is found nowhere.
 */
#ifndef HK_SUSPECT_H
#define HK_SUSPECT_H

#include "cache.h"

/* Ends the process if no block of a slab starts there or the block is free; returns if it may be live.  The message
 * starts with what; for "invalid free" of a free block it is "double free".  cache is the calling thread's, or NULL.  No
 * lock is held. */
HK_COLD void hk_suspect_check(const hk_cache_t *cache, const void *block, const char *what);

#endif
