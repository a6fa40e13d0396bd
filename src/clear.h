/*
 * clear: makes zero what calloc hands out again.  Stateless.
 */
#ifndef HK_CLEAR_H
#define HK_CLEAR_H

#include "base.h"

/* Makes a block zero, which begins with a page if it is above 64 KiB; returns it.  Of a large
 * block the last holder may have touched few pages, and so may the next one.  Then all of them go
 * back to the system, which zeroes those that are touched. */
void *hk_clear(void *block, size_t bytes);

#endif
