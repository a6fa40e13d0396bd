/*
 * wall: mappings between pages that nobody may touch.
 *
 * Stateless.  As in os, every function keeps errno, and reports failure by its return value alone.
 */
#ifndef HK_WALL_H
#define HK_WALL_H

#include "base.h"

/* Maps as hk_os_map does, with one page without access before the range and one behind it; NULL if
 * the kernel refuses. */
void *hk_wall_map(size_t bytes, size_t alignment);

/* The same, but the range has no access yet either. */
void *hk_wall_reserve(size_t bytes, size_t alignment);

/* Unmaps what hk_wall_map mapped, and the two pages. */
void hk_wall_unmap(void *address, size_t bytes);

/* Drops the range's content and forbids all access.  False if the kernel refuses: then the range is
 * as it was. */
bool hk_wall_seal(void *address, size_t bytes);

/* Reserves the range, without access and without charge, if nothing is mapped there; false, and
 * nothing is done, if something is. */
bool hk_wall_claim(void *address, size_t bytes);

/* Forbids all access, but keeps the range's content.  When it is opened again, it is one mapping
 * with what lies before it, if it was one before.  False if the kernel refuses. */
bool hk_wall_close(void *address, size_t bytes);

/* Allows reading and writing; a range that was sealed reads as zero.  False if the kernel
 * refuses. */
bool hk_wall_open(void *address, size_t bytes);

#endif
