/*
 * heap: what caches and others ask of a heap.  See heap.h.
 */
#include "heap.h"

#include <string.h>

#include "heap_depot.h"
#include "heap_hole.h"
#include "heap_slab.h"
#include "large.h"
#include "log.h"
#include "meta.h"
#include "options.h"
#include "random.h"
#include "reject.h"
#include "retire.h"
#include "run.h"

_Atomic(hk_heap_t *) hk_heap_table[HK_HEAPS_MAX];

hk_heap_t *hk_heap_new(uint16_t owner, hk_pool_t *pool)
{
    size_t pool_bytes = pool == NULL ? sizeof *pool : 0;
    /* Metadata of one kind has one size, so every heap has room for a pool behind it. */
    hk_heap_t *heap = hk_meta_allocate(HK_META_HEAP, sizeof *heap + sizeof *pool);
    if (heap == NULL) {
        return NULL;
    }
    memset(heap, 0, sizeof *heap + pool_bytes);
    heap->owner = owner;
    heap->pool = pool != NULL ? pool : (hk_pool_t *)(heap + 1);
    if (pool == NULL) {
        heap->pool->owned = true;
    }
    if (hk_options.harden != 0) {
        heap->hardened = true;
        heap->random = hk_random_seed();
        heap->quarantine = owner == HK_OWNER_NONE ? hk_quarantine_new(HK_QUARANTINE_HEAP) : NULL;
    }
    return heap;
}

void hk_heap_reject(hk_put_result_t result, const void *block)
{
    if (result == HK_PUT_DOUBLE) {
        hk_reject_block("double free", block, "the block is free already");
    }
    hk_reject_block("invalid free", block, "an interior pointer: no block starts there");
}

/* ---- Epochs ---- */

bool hk_heap_decay(hk_heap_t *heap, uint64_t now_ms)
{
    if (!hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        return false;
    }
    bool due = hk_ms_since(heap->epoch_ms, now_ms) >= hk_options.decay;
    bool more = due && !hk_heap_depot_dissolve_surplus_locked(heap, HK_EPOCH_MAGAZINES);
    if (due && !more) {
        heap->epoch_ms = now_ms;
        heap->given_units /= 2;
        hk_heap_depot_drain_locked(heap);
        hk_heap_depot_end_epoch_locked(heap, 0);
        (void)hk_heap_slab_release_empties_locked(heap, SIZE_MAX);
        hk_heap_hole_end_epoch_locked(heap);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return more;
}

size_t hk_heap_release_empties(hk_heap_t *heap, size_t units)
{
    size_t released = 0;
    if (units > 0 && hk_heap_empty_units(heap) > HK_EMPTY_UNITS_MIN &&
        hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        released = hk_heap_slab_release_empties_locked(heap, units);
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
    }
    return released;
}

void hk_heap_relieve(hk_heap_t *heap)
{
    if (hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        hk_heap_depot_drain_locked(heap);
        hk_heap_depot_end_epoch_locked(heap, HK_EPOCH_MAGAZINES);
        (void)hk_heap_slab_release_empties_locked(heap, SIZE_MAX);
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
    }
}

void hk_heap_reclaim(hk_heap_t *heap, size_t limit)
{
    size_t units = limit == SIZE_MAX ? SIZE_MAX : (size_t)HK_EMPTY_STEP_UNITS;
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_heap_depot_drain_locked(heap);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        hk_magazine_t *magazine;
        while (limit > 0 && (magazine = hk_heap_depot_pop(heap, class_index)) != NULL) {
            limit -= magazine->count < limit ? magazine->count : limit;
            hk_heap_depot_dissolve_locked(heap, magazine);
        }
    }
    (void)hk_heap_slab_release_empties_locked(heap, units);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

/* ---- What caches ask for ---- */

/* Takes up to load_blocks of the class out of slabs; if these have less, up to `most` out of kept
 * empty ones, which are nobody else's.  Stores them below end, as hk_heap_slab_take_locked; returns
 * how many. */
static unsigned take_relocking(hk_heap_t *heap, unsigned class_index, void **end, unsigned most,
                               bool *unsettled)
{
    unsigned few = (unsigned)hk_least(hk_policy_class[class_index].load_blocks, most);
    unsigned count = hk_heap_slab_take_locked(heap, class_index, end, few, unsettled);
    if (count < few) { /* no slab in use has more */
        count +=
            hk_heap_slab_take_kept_locked(heap, class_index, end - count, most - count, unsettled);
    }
    while (count == 0 && hk_heap_slab_add_relocking(heap, class_index)) {
        count = hk_heap_slab_take_locked(heap, class_index, end, few, unsettled);
    }
    return count;
}

/* Fills the empty magazine, or one that is as large as kind, from the class's slabs; NULL if there
 * is no memory. */
static hk_magazine_t *fill_relocking(hk_heap_t *heap, unsigned class_index, hk_magazine_t *empty,
                                     unsigned kind, unsigned most)
{
    hk_magazine_t *target = empty;
    if (empty == NULL || empty->kind < kind) {
        target = hk_heap_depot_take_spare(heap, kind);
        target = target != NULL ? target : empty;
    }
    if (target == NULL) {
        return NULL;
    }
    most = (unsigned)hk_least(most, target->capacity);
    bool unsettled = false;
    unsigned count = take_relocking(heap, class_index, target->slot + most, most, &unsettled);
    if (count == 0) {
        if (target != empty) {
            hk_heap_depot_keep_spare(heap, target);
        }
        return NULL;
    }
    if (count < most) { /* they lie below the end: see heap_slab.h */
        memmove(target->slot, target->slot + (most - count), count * sizeof(void *));
    }
    target->count = (uint16_t)count;
    target->marks = unsettled ? HK_MARKS_MIXED : HK_MARKS_CLEAR;
    return target;
}

hk_magazine_t *hk_heap_load(hk_heap_t *heap, unsigned class_index, hk_magazine_t *empty,
                            unsigned kind, unsigned most)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_heap_depot_drain_locked(heap);
    hk_magazine_t *loaded = hk_heap_depot_pop(heap, class_index);
    if (loaded == NULL) {
        loaded = fill_relocking(heap, class_index, empty, kind, most);
    }
    if (loaded != NULL && loaded != empty && empty != NULL) {
        hk_heap_depot_keep_spare(heap, empty);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return loaded;
}

hk_magazine_t *hk_heap_unload(hk_heap_t *heap, unsigned class_index, hk_magazine_t *full,
                              unsigned kind)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_magazine_t *empty = NULL;
    if (hk_heap_depot_has_room(heap, class_index)) {
        empty = hk_heap_depot_take_spare(heap, kind);
    }
    if (empty == NULL) {
        hk_heap_slab_put_all_locked(heap, full->slot, full->count, full->marks != HK_MARKS_CLEAR);
        full->count = 0;
        empty = full;
    } else {
        full->class_index = (uint16_t)class_index;
        hk_heap_depot_push(heap, class_index, full);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return empty;
}

hk_magazine_t *hk_heap_take_magazine(hk_heap_t *heap, unsigned kind)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_magazine_t *magazine = hk_heap_depot_take_spare(heap, kind);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return magazine;
}

hk_magazine_t *hk_heap_exchange_empty(hk_heap_t *heap, hk_magazine_t *empty, unsigned kind)
{
    if (empty->kind >= kind) {
        return empty;
    }
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_magazine_t *larger = hk_heap_depot_take_spare(heap, kind);
    if (larger != NULL) {
        hk_heap_depot_keep_spare(heap, empty);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return larger != NULL ? larger : empty;
}

void hk_heap_dissolve(hk_heap_t *heap, hk_magazine_t *magazine)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_heap_depot_dissolve_locked(heap, magazine);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

/* Pushes a chain of magazines on the inbox. */
static void push_inbox(hk_heap_t *heap, hk_magazine_t *first, hk_magazine_t *last)
{
    hk_magazine_t *head = hk_load_relaxed(&heap->inbox); /* relaxed: the CAS orders */
    do {
        last->next = head;
        /* release: pairs with the exchanges that take the inbox.  It is only ever taken whole, so
         * that a head which comes back is still the head (no ABA). */
    } while (!hk_cas_acq_rel(&heap->inbox, &head, first));
}

void hk_heap_hand_over(hk_heap_t *heap, hk_magazine_t *magazine, size_t bytes)
{
    push_inbox(heap, magazine, magazine);
    /* relaxed, and two threads may count as one: hints, one of which bounds the inbox roughly */
    hk_store_relaxed(&heap->inbox_bytes, hk_load_relaxed(&heap->inbox_bytes) + bytes);
    uint32_t count = hk_load_relaxed(&heap->inbox_count) + 1;
    hk_store_relaxed(&heap->inbox_count, count);
    if (HK_UNLIKELY(count > HK_INBOX_MAGAZINES) && hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        hk_heap_depot_drain_locked(heap);
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
    }
}

void hk_heap_each_incoming_locked(hk_heap_t *heap,
                                  void (*visit)(const hk_magazine_t *magazine, void *context),
                                  void *context)
{
    hk_assert(2, hk_lock_is_held(&heap->lock));
    /* acquire: pairs with the CAS in push_inbox */
    hk_magazine_t *list = hk_exchange_acq_rel(&heap->inbox, NULL);
    hk_magazine_t *last = NULL;
    for (hk_magazine_t *magazine = list; magazine != NULL; magazine = magazine->next) {
        visit(magazine, context);
        last = magazine;
    }
    if (last != NULL) {
        push_inbox(heap, list, last);
    }
}

void hk_heap_return_inbox(hk_heap_t *heap, hk_magazine_t *list)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_heap_depot_stock_locked(heap, list);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

void *hk_heap_take_block_settled(hk_heap_t *heap, unsigned class_index, bool *was_clear)
{
    uint8_t marks = HK_MARKS_CLEAR;
    bool unsettled = false; /* no matter: the bit is set in any case */
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_heap_depot_drain_locked(heap);
    void *block = hk_heap_depot_take_block_locked(heap, class_index, &marks);
    while (block == NULL &&
           hk_heap_slab_take_locked(heap, class_index, &block + 1, 1, &unsettled) == 0 &&
           hk_heap_slab_add_relocking(heap, class_index)) {
    }
    *was_clear = block != NULL && marks == HK_MARKS_SET && !hk_live_is_set(block);
    if (block != NULL && heap->owner != HK_OWNER_NONE) {
        hk_live_set(block);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return block;
}

void *hk_heap_take_block(hk_heap_t *heap, unsigned class_index)
{
    bool was_clear;
    return hk_heap_take_block_settled(heap, class_index, &was_clear);
}

void hk_heap_put_block(hk_heap_t *heap, hk_slab_t *slab, void *block)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_heap_slab_put_locked(heap, slab, block, hk_live_is_set(block));
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

void hk_heap_put_any(void *block)
{
    hk_slab_t *slab = hk_slab_find(block);
    if (slab == NULL || slab->class_index >= HK_CLASS_COUNT) {
        hk_log_fatal("invalid free", block, "no block starts there");
    }
    hk_heap_put_block(slab->heap, slab, block);
}

void hk_heap_delete(hk_heap_t *heap)
{
    while (heap->large != NULL) {
        hk_large_t *large = heap->large;
        heap->large = large->next;
        hk_registry_remove(large->address);
        if (large->walled) {
            hk_retire_free(large);
        } else {
            hk_large_free(large);
        }
    }
    while (heap->runs != NULL) {
        hk_run_t *run = heap->runs;
        heap->runs = run->next;
        (void)hk_run_free(run);
    }
    hk_heap_depot_free_spares(heap);
    if (heap->quarantine != NULL) {
        hk_quarantine_delete(heap->quarantine);
    }
    heap->pool->acquires[HK_STAGE_OWN] += heap->own_acquires;
    hk_pool_destroy(heap->pool);
    hk_pool_part_inherit(heap->pool);
    hk_meta_free(HK_META_HEAP, heap);
}

void hk_heap_reset(hk_heap_t *heap)
{
    hk_lock_reset(&heap->lock);
}
