/*
 * retire: direct mappings between pages without access: those of hardening, and a process's first
 * few blocks above 64 KiB.
 *
 * A freed mapping stays where it is for a while, sealed and in the registry: a late read or write
 * faults, and a second free is recognised.  lock(retired), of rank LARGE, guards the waiting ones;
 * they go in random order.
 */
#ifndef HK_RETIRE_H
#define HK_RETIRE_H

#include "large.h"

/* Whether there may be one more: each takes mappings, of which the program needs some, too. */
bool hk_retire_has_room(void);

/* A block of size bytes at a multiple of alignment; NULL if there is no memory. */
hk_large_t *hk_retire_allocate(size_t size, size_t alignment);

/* Frees a block that the caller has taken out of the map.  The process ends if somebody wrote
 * behind its end. */
void hk_retire_free(hk_large_t *large);

/* Resizes the block, and moves its pages if need be; after false it is as it was. */
bool hk_retire_resize(hk_large_t *large, size_t size);

/* For a block that gets smaller and could not be resized: it has the size and keeps its pages. */
void hk_retire_keep(hk_large_t *large, size_t size);

/* Unmaps all waiting ones, which have address space and nothing else. */
void hk_retire_drain(void);

/* In a forked child. */
void hk_retire_reset_lock(void);

#endif
