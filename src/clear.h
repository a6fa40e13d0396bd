/*
 * clear: makes zero what calloc hands out again.  Stateless.
 */
#ifndef HK_CLEAR_H
#define HK_CLEAR_H

#include "base.h"

/* A block in many pages, of which its last holder may have touched few: if so, the others are only
 * read, and stay the system's, which has one page of zeroes for all of them. */
void hk_clear_sparse(void *block, size_t bytes);

#endif
