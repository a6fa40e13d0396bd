/*
 * heap_hole: giving back the pages of free blocks in slabs that are in use.  A part of heap.h.
 *
 * A few blocks that live long keep their slabs from going back whole.  But the allocator keeps
 * nothing in a free block, so pages on which only free blocks lie can go back by themselves.  They
 * are the slab's holes.  The blocks stay free blocks of the slab.  When one of them is used again,
 * the kernel gives it fresh pages, which are zero.
 *
 * Where few blocks are live, holes are looked for at once.  Blocks of fuller slabs are wanted again
 * sooner, as a class's blocks come out of its fullest slab: there they are looked for if one round
 * by time has seen the slab, and none of its blocks has been taken by the next one.
 *
 * A slab's holes count as such until a block is taken out of the slab.  Then it counts as having
 * none, and may be looked at again.  Three kinds of slabs never have holes: those of hardened
 * heaps, whose free blocks have content; those in superslabs of huge pages, which are dense; and
 * those of first-class heaps, for which nobody asks.  The limits go on counting the pages of holes.
 *
 * The caller of a function that ends in _locked holds lock(heap).
 */
#ifndef HK_HEAP_HOLE_H
#define HK_HEAP_HOLE_H

#include "heap.h"

/* Purges the holes of up to limit slabs, those of the largest blocks first.  Goes on where the last
 * call ended, passes by a bounded number of slabs, and stops when it has been through all classes.
 * Returns the bytes given back. */
size_t hk_heap_hole_purge(hk_heap_t *heap, unsigned limit);

/* Purges those of all slabs. */
size_t hk_heap_hole_purge_all(hk_heap_t *heap);

/* At the end of an epoch: begins a new round through all classes, if the last round is done and
 * enough was free all through the epoch and is no hole yet. */
void hk_heap_hole_end_epoch_locked(hk_heap_t *heap);

/* Begins a new round at once, through the slabs that are mostly free, if the last one is done.
 * Else that one, whichever slabs it is for, goes on. */
void hk_heap_hole_restart(hk_heap_t *heap);

/* To be called when blocks are taken out of the slab, or it leaves the heap: its holes may be
 * resident again, and are no longer counted. */
void hk_heap_hole_forget_locked(hk_heap_t *heap, hk_slab_t *slab);

/* To be called before the slab leaves its list: if the round would go on with this slab, it goes on
 * with the next one. */
void hk_heap_hole_skip_locked(hk_heap_t *heap, const hk_slab_t *slab);

/* The free bytes in slabs that are not holes. */
static inline size_t hk_heap_hole_candidate_bytes(const hk_heap_t *heap)
{
    size_t holes = hk_load_relaxed(&heap->hole_bytes); /* relaxed: a hint */
    size_t free_bytes = hk_heap_free_bytes(heap);
    return hk_above(free_bytes, holes);
}

#endif
