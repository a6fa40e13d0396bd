/*
 * heap_depot: a heap's magazines: the depots, the spare ones, the inbox.  A part of heap.h.
 *
 * lock(heap) is held by whoever calls; the inbox alone is pushed on by anyone.
 */
#ifndef HK_HEAP_DEPOT_H
#define HK_HEAP_DEPOT_H

#include "heap.h"

enum { HK_EPOCH_MAGAZINES = 32 }; /* dissolved in one epoch's step, about 50 us */

/* An empty magazine, and back; NULL without memory. */
hk_magazine_t *hk_heap_depot_take_spare(hk_heap_t *heap, unsigned kind);
void hk_heap_depot_keep_spare(hk_heap_t *heap, hk_magazine_t *magazine);

/* Puts the magazine's blocks back into their slabs. */
void hk_heap_depot_dissolve_locked(hk_heap_t *heap, hk_magazine_t *magazine);

/* Whether policy allows the class's depot more blocks beside what all depots hold: of large ones
 * fewer. */
bool hk_heap_depot_has_room(const hk_heap_t *heap, unsigned class_index);

/* The depot of a class: a stack. */
void hk_heap_depot_push(hk_heap_t *heap, unsigned class_index, hk_magazine_t *magazine);
hk_magazine_t *hk_heap_depot_pop(hk_heap_t *heap, unsigned class_index);

/* The newest block of the depot, or NULL. */
void *hk_heap_depot_take_block_locked(hk_heap_t *heap, unsigned class_index, uint8_t *marks);

/* Makes depot stock of magazines that were in the inbox: one of a class as it is; a mixed one is
 * sorted. */
void hk_heap_depot_stock_locked(hk_heap_t *heap, hk_magazine_t *list);

/* Empties the inbox into the depots. */
static inline void hk_heap_depot_drain_locked(hk_heap_t *heap)
{
    if (HK_UNLIKELY(hk_load_relaxed(&heap->inbox) != NULL)) { /* relaxed: taking it orders */
        hk_heap_depot_stock_locked(heap, hk_heap_take_inbox(heap));
    }
}

/* Dissolves up to limit magazines that the working set has not needed since the epoch began.
 * Starts with another class each time, so that the limit starves none; false if it was too low for
 * all. */
bool hk_heap_depot_dissolve_surplus_locked(hk_heap_t *heap, unsigned limit);

/* Does so, and begins the next epoch. */
void hk_heap_depot_end_epoch_locked(hk_heap_t *heap, unsigned limit);

#endif
