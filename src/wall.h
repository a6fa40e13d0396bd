/*
 * wall: mappings between pages that nobody may touch.
 *
 * Stateless, as os: every function keeps errno, and failure is told by the return value alone.
 */
#ifndef HK_WALL_H
#define HK_WALL_H

#include "base.h"

/* As hk_os_map, with one page without access before and one behind; NULL if there is none. */
void *hk_wall_map(size_t bytes, size_t alignment);

/* The same range without access yet. */
void *hk_wall_reserve(size_t bytes, size_t alignment);

/* Unmaps what hk_wall_map mapped, and the two pages. */
void hk_wall_unmap(void *address, size_t bytes);

/* Drops the range's content and forbids all access.  False if the kernel refuses: then it is as it
 * was. */
bool hk_wall_seal(void *address, size_t bytes);

/* Takes a range where nothing is mapped, without access and without charge; false, and nothing is
 * done, if something is. */
bool hk_wall_claim(void *address, size_t bytes);

/* Forbids all access, and keeps the range's content: when it is opened again it is one mapping with
 * what lies before it, if it was before.  False if the kernel refuses. */
bool hk_wall_close(void *address, size_t bytes);

/* Allows reading and writing; a sealed range reads as zero.  False if the kernel refuses. */
bool hk_wall_open(void *address, size_t bytes);

#endif
