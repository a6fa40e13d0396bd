/*
 * retire: direct mappings between pages without access: hardening's, and a process's first few
 * above 64 KiB.
 *
 * A freed one stays where it is for a while, sealed and in the registry: a late read or write
 * faults, a second free is known for what it is.  lock(retired), of rank LARGE, guards those that
 * wait; they go in random order.
 */
#ifndef HK_RETIRE_H
#define HK_RETIRE_H

#include "large.h"

/* A block of size bytes at a multiple of alignment; NULL if there is no memory. */
hk_large_t *hk_retire_allocate(size_t size, size_t alignment);

/* Frees it, which is out of the map.  The process ends if somebody wrote behind its end. */
void hk_retire_free(hk_large_t *large);

/* Resizes the block, moving its pages if it must; false leaves it as it was. */
bool hk_retire_resize(hk_large_t *large, size_t size);

/* Unmaps all that wait; returns their bytes of address space. */
size_t hk_retire_drain(void);

/* In a forked child. */
void hk_retire_reset_lock(void);

#endif
