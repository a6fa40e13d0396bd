/*
 * heap_slab: a heap's slabs: the lists of partial ones by fullness, the empty ones it keeps, blocks
 * in and out of them.  A part of heap.h.
 *
 * lock(heap) is held; what is called _relocking opens it while the pool gets a slab.
 */
#ifndef HK_HEAP_SLAB_H
#define HK_HEAP_SLAB_H

#include "heap.h"

/* Puts a block back into its slab; the process ends if it is free there already.  unsettled: its
 * live bit may be set, and stays. */
void hk_heap_slab_put_locked(hk_heap_t *heap, hk_slab_t *slab, void *block, bool unsettled);

/* The same with many, of any slabs of the heap. */
void hk_heap_slab_put_all_locked(hk_heap_t *heap, void *const *blocks, unsigned count,
                                 bool unsettled);

/* Takes up to count blocks out of the partial slabs, the fullest first, for a hardened heap at
 * random, into the places below end: the first one taken last, where it is popped first.
 * *unsettled is set if their live bits may be. */
unsigned hk_heap_slab_take_locked(hk_heap_t *heap, unsigned class_index, void **end, unsigned count,
                                  bool *unsettled);

/* Adds a slab to the class: a kept empty one, else one of the pool; false without memory. */
bool hk_heap_slab_add_relocking(hk_heap_t *heap, unsigned class_index);

/* Gives the kept empty slabs to the pool. */
void hk_heap_slab_release_empties_locked(hk_heap_t *heap);

#endif
