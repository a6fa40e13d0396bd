/*
 * span: blocks above the slab classes: a run of pages, or a direct mapping for what is larger or
 * aligned to more than 2 MiB.
 *
 * Only the holder of a block may resize it.  The spans of a first-class heap are in a list of that
 * heap, so that they go with it.  With HAKMEM_HARDEN a span is a direct mapping between pages
 * without access, as long as these are not too many (retire.h); without it, the first 8 of threads'
 * heaps that would be runs are, as far as HK_APART_BYTES go.
 */
#ifndef HK_SPAN_H
#define HK_SPAN_H

#include "heap.h"
#include "large.h"
#include "run.h"

enum { HK_SPAN_ALIGNMENT = 4096 }; /* every span has it: no page is smaller */

/* Returns a block of size bytes, which is above HK_SMALL_MAX or aligned to more than a class can
 * be.  *fresh tells whether the system zeroed it and nobody has written to it since.  NULL if there
 * is no memory. */
void *hk_span_allocate(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* The same for a block that has grown and will grow again.  Above 2 MiB it is a direct mapping,
 * which grows without a copy.  Below that it gets some room to grow, so that it is not copied at
 * each step. */
void *hk_span_allocate_growing(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* The same, but only a run with resident pages; NULL if no free one is large enough. */
void *hk_span_allocate_warm(size_t size, bool *fresh);

typedef void *hk_span_allocate_t(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* The bytes that a block of size would have. */
size_t hk_span_good_size(size_t size);

/* Frees the block; false, and nothing done, if it is free already. */
bool hk_span_free_run(hk_run_t *run);
bool hk_span_free_large(hk_large_t *large, void *block);

/* Resizes the block in place; after false it is as it was. */
bool hk_span_resize_run(hk_run_t *run, size_t size);

/* Resizes the block, which may move, and returns where it is now; after NULL it is as it was. */
void *hk_span_resize_large(hk_large_t *large, size_t size);

#endif
