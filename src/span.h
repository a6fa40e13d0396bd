/*
 * span: blocks above the slab classes: a run of pages, or a direct mapping for what is larger or
 * aligned to more than 2 MiB.
 *
 * Resizing is for whoever holds the block.  The spans of a first-class heap are in a list of it, so
 * that they go with it.  With HAKMEM_HARDEN every span is a direct mapping between guard pages, and
 * so are a process's first 8 in any case.
 */
#ifndef HK_SPAN_H
#define HK_SPAN_H

#include "heap.h"
#include "large.h"
#include "run.h"

enum { HK_SPAN_ALIGNMENT = 4096 }; /* any span has: no page is smaller */

/* A block of size bytes, above HK_SMALL_MAX or aligned to more than a class can be; *fresh tells
 * whether the system zeroed it and nobody wrote to it since.  NULL if there is no memory. */
void *hk_span_allocate(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* The same for a block that has grown and will grow again: a direct mapping from 2 MiB on, which
 * grows without a copy; below that with some room, so that of many that grow by turns none is
 * copied at each step. */
void *hk_span_allocate_growing(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* A thread's run with resident pages; NULL if no free one suffices. */
void *hk_span_allocate_warm(size_t size, bool *fresh);

typedef void *hk_span_allocate_t(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* The bytes that a block of size would have. */
size_t hk_span_good_size(size_t size);

/* False, and nothing done, if the block is free already. */
bool hk_span_free_run(hk_run_t *run);
bool hk_span_free_large(hk_large_t *large, void *block);

/* In place; false leaves the block as it was. */
bool hk_span_resize_run(hk_run_t *run, size_t size);

/* The block may move; NULL leaves it as it was. */
void *hk_span_resize_large(hk_large_t *large, size_t size);

#endif
