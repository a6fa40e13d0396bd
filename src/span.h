/*
 * span: blocks above the slab classes: a run of units in a superslab up to 2 MiB less 64 KiB, a direct mapping beyond.
 *
 * A span belongs to a heap as a slab does.  Resizing is for whoever holds the block.
 */
#ifndef HK_SPAN_H
#define HK_SPAN_H

#include "heap.h"
#include "large.h"

enum { HK_SPAN_UNITS_MAX = HK_SLAB_UNITS_MAX };

/* A block of size bytes, above HK_SMALL_MAX or aligned to more than a class can be; *fresh tells whether the system zeroed it and
 * nobody wrote to it since.  NULL if there is no memory. */
void *hk_span_allocate(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* The bytes that a block of size would have. */
size_t hk_span_good_size(size_t size);

/* For runs of units. */
void hk_span_free_units(hk_slab_t *slab);
bool hk_span_resize_units(hk_slab_t *slab, size_t size);

/* For direct mappings: the block may move; NULL leaves it as it was. */
void hk_span_free_large(hk_large_t *large);
void *hk_span_resize_large(hk_large_t *large, size_t size);

#endif
