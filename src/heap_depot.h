/*
 * heap_depot: a heap's magazines: the depots, the spare ones and the inbox.  A part of heap.h.
 *
 * The caller holds lock(heap).  Only the inbox is pushed on, and taken, without it.
 */
#ifndef HK_HEAP_DEPOT_H
#define HK_HEAP_DEPOT_H

#include "heap.h"

enum { HK_EPOCH_MAGAZINES = 32 }; /* dissolved in one epoch's step, about 50 us */

/* Takes an empty magazine, NULL without memory; gives one back. */
hk_magazine_t *hk_heap_depot_take_spare(hk_heap_t *heap, unsigned kind);
void hk_heap_depot_keep_spare(hk_heap_t *heap, hk_magazine_t *magazine);

/* Leaves them to other heaps: this one is being deleted. */
void hk_heap_depot_free_spares(hk_heap_t *heap);

/* Puts the magazine's blocks back into their slabs, and keeps the magazine. */
void hk_heap_depot_dissolve_locked(hk_heap_t *heap, hk_magazine_t *magazine);

/* Whether policy allows the class's depot more blocks, given what all depots of the heap hold. */
bool hk_heap_depot_has_room(const hk_heap_t *heap, unsigned class_index);

/* The depot of a class: a stack. */
void hk_heap_depot_push(hk_heap_t *heap, unsigned class_index, hk_magazine_t *magazine);
hk_magazine_t *hk_heap_depot_pop(hk_heap_t *heap, unsigned class_index);

/* Takes the newest block of the depot, and says what its magazine's marks are; NULL if there is
 * none. */
void *hk_heap_depot_take_block_locked(hk_heap_t *heap, unsigned class_index, uint8_t *marks);

/* Puts magazines that were in the inbox into the depots: one of a single class as it is, the blocks
 * of a mixed one sorted. */
void hk_heap_depot_stock_locked(hk_heap_t *heap, hk_magazine_t *list);

/* Empties the inbox into the depots. */
static inline void hk_heap_depot_drain_locked(hk_heap_t *heap)
{
    if (HK_UNLIKELY(hk_load_relaxed(&heap->inbox) != NULL)) { /* relaxed: taking it orders */
        hk_heap_depot_stock_locked(heap, hk_heap_take_inbox(heap));
    }
}

/* Dissolves up to limit magazines that the working set has not needed since the epoch began. Starts
 * with another class in each epoch, so that the limit starves none.  False if some are left. */
bool hk_heap_depot_dissolve_surplus_locked(hk_heap_t *heap, unsigned limit);

/* The same, and begins the next epoch. */
void hk_heap_depot_end_epoch_locked(hk_heap_t *heap, unsigned limit);

#endif
