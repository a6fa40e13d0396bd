/*
 * heap_hole: pages of free blocks in slabs that are in use.  A part of heap.h.
 *
 * A few blocks that live long keep slabs from going back whole.  But nothing of the allocator's
 * lies in a free block, so the pages on which only free blocks lie can go by themselves: they are
 * the slab's holes.  The blocks stay free ones of the slab; who gets one has its pages faulted in
 * again, as zeroes.
 *
 * A hole is a hole until a block is taken out of its slab: then the slab counts as without holes,
 * and may be looked at again.  Hardened heaps have no holes, since their free blocks have content;
 * nor have superslabs of huge pages, which are dense, and first-class heaps, which nobody asks.
 * Limits go on counting the pages.
 *
 * lock(heap) is held by whoever calls what ends in _locked.
 */
#ifndef HK_HEAP_HOLE_H
#define HK_HEAP_HOLE_H

#include "heap.h"

/* Purges the holes of up to limit slabs, of the largest blocks first, and of such as are mostly
 * free: the blocks of fuller ones are wanted again sooner.  Goes on where the last call ended,
 * passes by a bounded number of slabs, and stops when it has been through all classes.  Returns the
 * bytes given back. */
size_t hk_heap_hole_purge(hk_heap_t *heap, unsigned limit);

/* Purges those of all slabs. */
size_t hk_heap_hole_purge_all(hk_heap_t *heap);

/* Begins a new round through all classes when the last one is done, if so much is free that was so
 * all through the epoch, and no hole yet. */
void hk_heap_hole_end_epoch_locked(hk_heap_t *heap);

/* The same at once, for who does not wait for the epoch's end. */
void hk_heap_hole_restart(hk_heap_t *heap);

/* Blocks are taken out of the slab, or it leaves the heap: what were its holes may be resident
 * again. */
void hk_heap_hole_forget_locked(hk_heap_t *heap, hk_slab_t *slab);

/* The round for holes goes on behind the slab, if it has come as far: for who takes it out of its
 * list. */
void hk_heap_hole_skip_locked(hk_heap_t *heap, const hk_slab_t *slab);

/* Free bytes in slabs that are no holes. */
static inline size_t hk_heap_hole_candidate_bytes(const hk_heap_t *heap)
{
    size_t holes = hk_load_relaxed(&heap->hole_bytes); /* relaxed: a hint */
    size_t free_bytes = hk_heap_free_bytes(heap);
    return free_bytes > holes ? free_bytes - holes : 0;
}

#endif
