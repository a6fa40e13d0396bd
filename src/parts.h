/*
 * parts: what all threads share may be divided into parts, each with a lock of its own: the Shared
 * Pool and the areas are.  Parts are numbered from 0, and come into use one by one.
 */
#ifndef HK_PARTS_H
#define HK_PARTS_H

#include "atomic.h"
#include "base.h"

/* How many parts there may be: one for each processor, up to HK_PARTS. */
uint32_t hk_parts_most(void);

/* The part comes into use, and so do all before it.  *last is the last one in use; it only rises.
 * Whoever goes through the parts may miss one that comes into use meanwhile. */
void hk_parts_use(_Atomic uint32_t *last, uint32_t part);

#endif
