/*
 * heap_slab: a heap's slabs: the lists of partial slabs by fullness, the empty slabs that it keeps,
 * and blocks in and out of them.  A part of heap.h.
 *
 * lock(heap) is held; a function called _relocking opens it while the pool gets a slab.
 */
#ifndef HK_HEAP_SLAB_H
#define HK_HEAP_SLAB_H

#include "heap.h"

/* Puts a block back into its slab; the process ends if the block is free there already.  unsettled:
 * its live bit may be set, and is left so. */
void hk_heap_slab_put_locked(hk_heap_t *heap, hk_slab_t *slab, void *block, bool unsettled);

/* The same with many blocks, of any slabs of the heap. */
void hk_heap_slab_put_all_locked(hk_heap_t *heap, void *const *blocks, unsigned count,
                                 bool unsettled);

/* Takes up to count blocks out of the partial slabs, from the fullest slab first; for a hardened
 * heap, at random.  Stores them below end, going down, so that the first block taken is the first
 * one popped.  *unsettled is set if their live bits may be set. */
unsigned hk_heap_slab_take_locked(hk_heap_t *heap, unsigned class_index, void **end, unsigned count,
                                  bool *unsettled);

/* The same out of the kept empty slabs.  None for a hardened heap, which chooses among slabs. */
unsigned hk_heap_slab_take_kept_locked(hk_heap_t *heap, unsigned class_index, void **end,
                                       unsigned count, bool *unsettled);

/* Adds a slab to the class: a kept empty one, else one from the pool; false without memory. */
bool hk_heap_slab_add_relocking(hk_heap_t *heap, unsigned class_index);

/* Gives kept empty slabs of about so many units to the pool; returns how many. */
size_t hk_heap_slab_release_empties_locked(hk_heap_t *heap, size_t units);

#endif
