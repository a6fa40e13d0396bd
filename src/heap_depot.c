/*
 * heap_depot: see heap_depot.h.
 */
#include "heap_depot.h"

#include "heap_slab.h"
#include "meta.h"

/* Empty magazines that change hands at once.  A heap keeps fewer than two bundles of each kind. */
enum { BUNDLE = 16 };

/* Makes `count` of the spare magazines, from `first` on, a bundle for other heaps.  Where blocks
 * are freed by other threads than allocate them, empty magazines have to go the other way; and the
 * lock on that way is all heaps', so they go many at a time. */
static void free_bundle(hk_magazine_t *first, uint16_t count)
{
    first->slot[0] = (void *)(uintptr_t)count; /* no block: it is empty */
    hk_meta_free_bundle(HK_META_MAGAZINE + first->kind, first);
}

static bool take_bundle(hk_heap_t *heap, unsigned kind)
{
    hk_magazine_t *first = hk_meta_take_bundle(HK_META_MAGAZINE + kind);
    if (first == NULL) {
        return false;
    }
    first->kind = (uint8_t)kind; /* its first word was the list's */
    first->capacity = (uint16_t)hk_magazine_capacity(kind);
    heap->spare[kind] = first;
    heap->spare_count[kind] = (uint16_t)(uintptr_t)first->slot[0];
    first->slot[0] = NULL; /* 1 would be an end */
    return true;
}

/* As many as fill a piece of metadata: what shares its lines is one heap's. */
static bool make_spares(hk_heap_t *heap, unsigned kind)
{
    size_t bytes = hk_align_up(hk_magazine_bytes(kind), HK_META_ALIGNMENT);
    char *memory = hk_meta_allocate(HK_META_MAGAZINE + kind, bytes);
    if (memory == NULL) {
        return false;
    }
    for (char *end = memory + bytes; memory < end; memory += hk_magazine_bytes(kind)) {
        hk_magazine_t *magazine = (hk_magazine_t *)memory;
        magazine->kind = (uint8_t)kind;
        magazine->capacity = (uint16_t)hk_magazine_capacity(kind);
        magazine->slot[magazine->capacity] = HK_MAGAZINE_END;
        hk_magazine_push_list(&heap->spare[kind], magazine);
        heap->spare_count[kind]++;
    }
    return true;
}

hk_magazine_t *hk_heap_depot_take_spare(hk_heap_t *heap, unsigned kind)
{
    if (heap->spare[kind] == NULL && !take_bundle(heap, kind) && !make_spares(heap, kind)) {
        return NULL;
    }
    hk_magazine_t *magazine = hk_magazine_pop_list(&heap->spare[kind]);
    heap->spare_count[kind]--;
    magazine->count = 0;
    magazine->marks = HK_MARKS_CLEAR;
    return magazine;
}

void hk_heap_depot_keep_spare(hk_heap_t *heap, hk_magazine_t *magazine)
{
    unsigned kind = magazine->kind;
    hk_magazine_set_capacity(magazine, hk_magazine_capacity(kind));
    hk_magazine_push_list(&heap->spare[kind], magazine);
    if (++heap->spare_count[kind] < 2 * BUNDLE) {
        return;
    }
    hk_magazine_t *last = magazine;
    for (unsigned i = 1; i < BUNDLE; i++) {
        last = last->next;
    }
    heap->spare[kind] = last->next;
    heap->spare_count[kind] = BUNDLE;
    last->next = NULL;
    free_bundle(magazine, BUNDLE);
}

void hk_heap_depot_free_spares(hk_heap_t *heap)
{
    for (unsigned kind = 0; kind < HK_MAGAZINE_KINDS; kind++) {
        if (heap->spare[kind] != NULL) {
            free_bundle(heap->spare[kind], heap->spare_count[kind]);
        }
    }
}

void hk_heap_depot_dissolve_locked(hk_heap_t *heap, hk_magazine_t *magazine)
{
    hk_heap_slab_put_all_locked(heap, magazine->slot, magazine->count,
                                magazine->marks != HK_MARKS_CLEAR);
    magazine->count = 0;
    hk_heap_depot_keep_spare(heap, magazine);
}

/* The bytes of a magazine's blocks, which are of one class. */
static size_t magazine_bytes(const hk_magazine_t *magazine, unsigned class_index)
{
    return (size_t)magazine->count * hk_class_info[class_index].block_bytes;
}

/* Adds bytes, or by wrapping subtracts them. */
static void count_depot_bytes(hk_heap_t *heap, size_t bytes)
{
    hk_store_relaxed(&heap->depot_bytes, hk_heap_depot_bytes(heap) + bytes);
}

bool hk_heap_depot_has_room(const hk_heap_t *heap, unsigned class_index)
{
    size_t slab_bytes = hk_heap_units(heap) * HK_UNIT_BYTES;
    return hk_class_info[class_index].block_bytes <= HK_DEPOT_BLOCK_BYTES &&
           hk_heap_depot_bytes(heap) < hk_policy_depot_bytes(slab_bytes);
}

void hk_heap_depot_push(hk_heap_t *heap, unsigned class_index, hk_magazine_t *magazine)
{
    hk_depot_t *depot = &heap->classes[class_index].depot;
    hk_magazine_push_list(&depot->stack, magazine);
    depot->count++;
    count_depot_bytes(heap, magazine_bytes(magazine, class_index));
}

hk_magazine_t *hk_heap_depot_pop(hk_heap_t *heap, unsigned class_index)
{
    hk_depot_t *depot = &heap->classes[class_index].depot;
    hk_magazine_t *magazine = hk_magazine_pop_list(&depot->stack);
    if (magazine != NULL) {
        count_depot_bytes(heap, -magazine_bytes(magazine, class_index));
        if (--depot->count < depot->low_water) {
            depot->low_water = depot->count;
        }
    }
    return magazine;
}

/* The magazine of the class's depot to add a block to: its newest if that has room and equal marks,
 * else a new one; NULL if the depots are full or there is no memory. */
static hk_magazine_t *stock_magazine(hk_heap_t *heap, unsigned class_index, uint8_t marks)
{
    hk_magazine_t *magazine = heap->classes[class_index].depot.stack;
    if (HK_LIKELY(magazine != NULL && magazine->count < magazine->capacity &&
                  magazine->marks == marks)) {
        return magazine;
    }
    if (!hk_heap_depot_has_room(heap, class_index)) {
        return NULL;
    }
    magazine = hk_heap_depot_take_spare(heap, hk_policy_class[class_index].magazine_kind);
    if (magazine != NULL) {
        magazine->class_index = (uint16_t)class_index;
        magazine->marks = marks;
        hk_heap_depot_push(heap, class_index, magazine);
    }
    return magazine;
}

/* Makes depot stock of a magazine of several classes: the near table knows most of its blocks'
 * classes, so that no slab is touched.  What it does not know, and what is too much for the depots,
 * goes back to the slabs. */
static void sort_magazine(hk_heap_t *heap, hk_magazine_t *magazine)
{
    uint64_t tag = hk_heap_near_tag(heap);
    size_t bytes = 0;
    unsigned left = 0;
    for (unsigned i = 0; i < magazine->count; i++) {
        uint64_t class_index = (hk_registry_fold(magazine->slot[i]) ^ tag) >> HK_UNIT_SHIFT;
        hk_magazine_t *stock = class_index < HK_CLASS_COUNT
                                   ? stock_magazine(heap, (unsigned)class_index, magazine->marks)
                                   : NULL;
        if (HK_LIKELY(stock != NULL)) {
            stock->slot[stock->count++] = magazine->slot[i];
            bytes += hk_class_info[class_index].block_bytes;
        } else {
            magazine->slot[left++] = magazine->slot[i];
        }
    }
    count_depot_bytes(heap, bytes);
    magazine->count = (uint16_t)left;
    hk_heap_depot_dissolve_locked(heap, magazine);
}

hk_magazine_t *hk_heap_take_inbox(hk_heap_t *heap)
{
    if (hk_load_relaxed(&heap->inbox) == NULL) { /* relaxed: the exchange below orders */
        return NULL;
    }
    hk_store_relaxed(&heap->inbox_count, 0); /* relaxed: hints, both */
    hk_store_relaxed(&heap->inbox_bytes, 0);
    /* acquire: pairs with the CAS in push_inbox (heap.c) */
    hk_magazine_t *list = hk_exchange_acq_rel(&heap->inbox, NULL);
    uint64_t count = hk_load_relaxed(&heap->inbox_magazines); /* relaxed: a statistic */
    for (const hk_magazine_t *magazine = list; magazine != NULL; magazine = magazine->next) {
        count++;
    }
    hk_store_relaxed(&heap->inbox_magazines, count);
    return list;
}

void hk_heap_depot_stock_locked(hk_heap_t *heap, hk_magazine_t *list)
{
    hk_magazine_t *magazine;
    while ((magazine = hk_magazine_pop_list(&list)) != NULL) {
        if (magazine->count > 0 && magazine->class_index == HK_MAGAZINE_MIXED) {
            sort_magazine(heap, magazine);
        } else if (magazine->count > 0 && hk_heap_depot_has_room(heap, magazine->class_index)) {
            hk_heap_depot_push(heap, magazine->class_index, magazine);
        } else {
            hk_heap_depot_dissolve_locked(heap, magazine);
        }
    }
}

void *hk_heap_depot_take_block_locked(hk_heap_t *heap, unsigned class_index, uint8_t *marks)
{
    hk_magazine_t *magazine = heap->classes[class_index].depot.stack;
    if (magazine == NULL) {
        return NULL;
    }
    *marks = magazine->marks;
    void *block = magazine->slot[--magazine->count];
    count_depot_bytes(heap, -(size_t)hk_class_info[class_index].block_bytes);
    if (magazine->count == 0) {
        hk_heap_depot_keep_spare(heap, hk_heap_depot_pop(heap, class_index));
    }
    return block;
}

bool hk_heap_depot_dissolve_surplus_locked(hk_heap_t *heap, unsigned limit)
{
    unsigned class_index = heap->epoch_class;
    for (unsigned step = 0; step < HK_CLASS_COUNT; step++, class_index++) {
        class_index = class_index == HK_CLASS_COUNT ? 0 : class_index;
        hk_depot_t *depot = &heap->classes[class_index].depot;
        for (; depot->low_water > 0; limit--) {
            if (limit == 0) {
                return false;
            }
            depot->low_water--;
            hk_magazine_t *magazine = hk_heap_depot_pop(heap, class_index);
            hk_heap_depot_dissolve_locked(heap, magazine);
        }
    }
    return true;
}

void hk_heap_depot_end_epoch_locked(hk_heap_t *heap, unsigned limit)
{
    (void)hk_heap_depot_dissolve_surplus_locked(heap, limit);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        hk_depot_t *depot = &heap->classes[class_index].depot;
        depot->low_water = depot->count;
    }
    heap->epoch_class = (uint16_t)((heap->epoch_class + 1) % HK_CLASS_COUNT);
}
