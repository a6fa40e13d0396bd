/*
 * heap: slabs, depots and the inbox.  See heap.h.
 */
#include "heap.h"

#include <string.h>

#include "large.h"
#include "log.h"
#include "meta.h"
#include "options.h"
#include "os.h"
#include "random.h"
#include "retire.h"
#include "run.h"

enum {
    OPERATIONS_PER_CLOCK = 64, /* loads and unloads between two looks at the clock */
    ACQUIRES_PER_EPOCH =
        16,               /* growing by so many slabs ends an epoch too: reclaim before growing */
    EPOCH_MAGAZINES = 32, /* dissolved in one epoch's step, about 50 us */
    SPARE_MAX = 16,       /* empty magazines of one kind that a heap keeps */
};

_Atomic(hk_heap_t *) hk_heap_table[HK_HEAPS_MAX];

hk_heap_t *hk_heap_new(uint16_t owner, hk_pool_t *pool)
{
    size_t pool_bytes = pool == NULL ? sizeof *pool : 0;
    /* One kind of metadata is one size: a heap always has room for a pool behind it. */
    hk_heap_t *heap = hk_meta_allocate(HK_META_HEAP, sizeof *heap + sizeof *pool);
    if (heap == NULL) {
        return NULL;
    }
    memset(heap, 0, sizeof *heap + pool_bytes);
    heap->owner = owner;
    heap->pool = pool != NULL ? pool : (hk_pool_t *)(heap + 1);
    if (hk_options.harden != 0) {
        heap->hardened = true;
        heap->random = hk_random_seed();
    }
    return heap;
}

/* ---- Slab lists ---- */

static unsigned bucket_of(const hk_slab_t *slab)
{
    return (slab->free_blocks - 1u) * HK_SLAB_BUCKETS /
           hk_class_info[slab->class_index].block_count;
}

static void link_slab(hk_heap_t *heap, hk_slab_t *slab, unsigned bucket)
{
    hk_slab_t **list = &heap->classes[slab->class_index].partial[bucket];
    slab->bucket = (uint8_t)bucket;
    slab->prev = NULL;
    slab->next = *list;
    if (*list != NULL) {
        (*list)->prev = slab;
    }
    *list = slab;
}

static void unlink_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    if (slab->prev != NULL) {
        slab->prev->next = slab->next;
    } else {
        heap->classes[slab->class_index].partial[slab->bucket] = slab->next;
    }
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
}

static void release_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    hk_slab_stop(slab, heap->owner);
    heap->units -= slab->units;
    hk_pool_release(heap->pool, slab);
}

/* A slab has become empty, and is in no list: keep it, one for each class and few in all, or release it. */
static void retire_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    hk_heap_class_t *class = &heap->classes[slab->class_index];
    if (class->empty == NULL && heap->empty_units + slab->units <= HK_EMPTY_UNITS_MAX) {
        class->empty = slab;
        heap->empty_units = (uint16_t)(heap->empty_units + slab->units);
    } else {
        release_slab(heap, slab);
    }
}

static hk_slab_t *take_empty(hk_heap_t *heap, unsigned class_index)
{
    hk_slab_t *slab = heap->classes[class_index].empty;
    if (slab != NULL) {
        heap->classes[class_index].empty = NULL;
        heap->empty_units = (uint16_t)(heap->empty_units - slab->units);
    }
    return slab;
}

void hk_heap_reject(hk_put_result_t result, const void *block)
{
    if (result == HK_PUT_DOUBLE) {
        hk_log_fatal("double free", block, "the block is free already");
    }
    hk_log_fatal("invalid free", block, "an interior pointer: no block starts there");
}

/* unsettled: the block's live bit may be set, and stays. */
static void put_block_locked(hk_heap_t *heap, hk_slab_t *slab, void *block, bool unsettled)
{
    hk_assert(2, hk_lock_is_held(&heap->lock));
    hk_put_result_t result = hk_slab_put(slab, block);
    if (HK_UNLIKELY(result != HK_PUT_DONE)) {
        hk_heap_reject(result, block);
    }
    slab->unsettled |= unsettled;
    unsigned free_blocks = slab->free_blocks;
    unsigned block_count = hk_class_info[slab->class_index].block_count;
    if (free_blocks == 1) {
        link_slab(heap, slab, bucket_of(slab));
    } else if (bucket_of(slab) != slab->bucket) {
        unlink_slab(heap, slab);
        link_slab(heap, slab, bucket_of(slab));
    }
    if (free_blocks == block_count) {
        unlink_slab(heap, slab);
        retire_slab(heap, slab);
    }
}

/* Takes up to count blocks out of the partial slabs, the fullest first.  *unsettled is set if their live bits may be. */
static unsigned take_blocks_locked(hk_heap_t *heap, unsigned class_index, void **blocks,
                                   unsigned count, bool *unsettled)
{
    hk_heap_class_t *class = &heap->classes[class_index];
    unsigned taken = 0;
    for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS && taken < count; bucket++) {
        hk_slab_t *slab;
        while (taken < count && (slab = class->partial[bucket]) != NULL) {
            taken += hk_slab_take(slab, blocks + taken, count - taken);
            *unsettled |= slab->unsettled != 0;
            if (slab->free_blocks == 0) {
                unlink_slab(heap, slab);
            } else if (bucket_of(slab) != bucket) {
                unlink_slab(heap, slab);
                link_slab(heap, slab, bucket_of(slab));
            }
        }
    }
    return taken;
}

/* ---- Magazines ---- */

static hk_magazine_t *take_spare(hk_heap_t *heap, unsigned kind)
{
    hk_magazine_t *magazine = hk_magazine_pop_list(&heap->spare[kind]);
    if (magazine != NULL) {
        heap->spare_count[kind]--;
    } else {
        magazine = hk_meta_allocate(HK_META_MAGAZINE + kind, hk_magazine_bytes(kind));
        if (magazine == NULL) {
            return NULL;
        }
        magazine->kind = (uint8_t)kind;
        magazine->next = NULL;
        magazine->sentinel = NULL;
    }
    magazine->count = 0;
    magazine->capacity = (uint16_t)hk_magazine_capacity(kind);
    magazine->marks = HK_MARKS_CLEAR;
    return magazine;
}

static void keep_spare(hk_heap_t *heap, hk_magazine_t *magazine)
{
    if (heap->spare_count[magazine->kind] < SPARE_MAX) {
        hk_magazine_push_list(&heap->spare[magazine->kind], magazine);
        heap->spare_count[magazine->kind]++;
    } else {
        hk_meta_free(HK_META_MAGAZINE + magazine->kind, magazine);
    }
}

static void dissolve_locked(hk_heap_t *heap, hk_magazine_t *magazine)
{
    for (unsigned i = 0; i < magazine->count; i++) {
        hk_slab_t *slab = hk_slab_find(magazine->slot[i]);
        if (HK_UNLIKELY(slab == NULL || slab->class_index >= HK_CLASS_COUNT ||
                        slab->heap != heap)) {
            hk_log_fatal("double free", magazine->slot[i], "its slab has been given back since");
        }
        put_block_locked(heap, slab, magazine->slot[i], magazine->marks != HK_MARKS_CLEAR);
    }
    magazine->count = 0;
}

/* What the blocks of a magazine of one class hold. */
static size_t magazine_bytes(const hk_magazine_t *magazine, unsigned class_index)
{
    return (size_t)magazine->count * hk_class_info[class_index].block_bytes;
}

/* Wraps as it should for what is taken away. */
static void count_depot_bytes(hk_heap_t *heap, size_t bytes)
{
    hk_store_relaxed(&heap->depot_bytes, hk_heap_depot_bytes(heap) + bytes);
}

static void push_depot(hk_heap_t *heap, unsigned class_index, hk_magazine_t *magazine)
{
    hk_depot_t *depot = &heap->classes[class_index].depot;
    hk_magazine_push_list(&depot->stack, magazine);
    depot->count++;
    count_depot_bytes(heap, magazine_bytes(magazine, class_index));
}

static hk_magazine_t *pop_depot(hk_heap_t *heap, unsigned class_index)
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

/* Adds one block to the class's depot, to its newest magazine if that has room and equal marks; false if there is no memory for
 * another. */
static bool stock_block(hk_heap_t *heap, unsigned class_index, void *block, uint8_t marks)
{
    hk_magazine_t *magazine = heap->classes[class_index].depot.stack;
    uint32_t block_bytes = hk_class_info[class_index].block_bytes;
    if (magazine == NULL || magazine->count >= magazine->capacity || magazine->marks != marks) {
        magazine = take_spare(heap, hk_policy_magazine_kind(block_bytes));
        if (magazine == NULL) {
            return false;
        }
        magazine->class_index = (uint16_t)class_index;
        magazine->marks = marks;
        push_depot(heap, class_index, magazine);
    }
    magazine->slot[magazine->count++] = block;
    count_depot_bytes(heap, block_bytes);
    return true;
}

/* Makes depot stock of a magazine of several classes: the near table knows most of its blocks' classes, so that no slab is
 * touched.  What it does not know, and what is too much for the depots, goes back to the slabs. */
static void sort_magazine(hk_heap_t *heap, hk_magazine_t *magazine)
{
    unsigned left = 0;
    for (unsigned i = 0; i < magazine->count; i++) {
        uintptr_t address = (uintptr_t)magazine->slot[i];
        uint64_t class_index =
            (hk_registry_near(address) ^ address ^ (uint64_t)heap->owner << HK_OWNER_SHIFT) >>
            HK_UNIT_SHIFT;
        bool stocked =
            class_index < HK_CLASS_COUNT &&
            hk_heap_depot_bytes(heap) < hk_policy_depot_bytes(heap->units * HK_UNIT_BYTES) &&
            stock_block(heap, (unsigned)class_index, magazine->slot[i], magazine->marks);
        if (!stocked) {
            magazine->slot[left++] = magazine->slot[i];
        }
    }
    magazine->count = (uint16_t)left;
    dissolve_locked(heap, magazine);
    keep_spare(heap, magazine);
}

/* A magazine of one class becomes depot stock as it is; a mixed one is sorted. */
static void drain_inbox_locked(hk_heap_t *heap)
{
    if (hk_load_relaxed(&heap->inbox) == NULL) { /* relaxed: the exchange below orders */
        return;
    }
    /* acquire: pairs with the CAS in hk_heap_hand_over */
    hk_magazine_t *magazine = hk_exchange_acq_rel(&heap->inbox, NULL);
    hk_store_relaxed(&heap->inbox_count, 0); /* relaxed: a hint */
    while (magazine != NULL) {
        hk_magazine_t *next = magazine->next;
        magazine->next = NULL;
        heap->inbox_magazines++;
        if (magazine->class_index != HK_MAGAZINE_MIXED) {
            push_depot(heap, magazine->class_index, magazine);
        } else {
            sort_magazine(heap, magazine);
        }
        magazine = next;
    }
}

/* ---- Epochs ---- */

/* Dissolves up to limit magazines that the working set has not needed since the epoch began.  Starts with another class each time, so
 * that the limit starves none; false if it was too low for all. */
static bool dissolve_surplus_locked(hk_heap_t *heap, unsigned limit)
{
    for (unsigned step = 0; step < HK_CLASS_COUNT; step++) {
        unsigned class_index = (heap->epoch_class + step) % HK_CLASS_COUNT;
        hk_depot_t *depot = &heap->classes[class_index].depot;
        for (; depot->low_water > 0; limit--) {
            if (limit == 0) {
                return false;
            }
            depot->low_water--;
            hk_magazine_t *magazine = pop_depot(heap, class_index);
            dissolve_locked(heap, magazine);
            keep_spare(heap, magazine);
        }
    }
    return true;
}

/* Does so, and begins the next epoch. */
static void end_epoch_locked(hk_heap_t *heap, unsigned limit)
{
    (void)dissolve_surplus_locked(heap, limit);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        hk_depot_t *depot = &heap->classes[class_index].depot;
        depot->low_water = depot->count;
    }
    heap->epoch_class = (uint16_t)((heap->epoch_class + 1) % HK_CLASS_COUNT);
}

static void release_empties_locked(hk_heap_t *heap)
{
    for (unsigned class_index = 0; heap->empty_units > 0 && class_index < HK_CLASS_COUNT;
         class_index++) {
        hk_slab_t *slab = take_empty(heap, class_index);
        if (slab != NULL) {
            release_slab(heap, slab);
        }
    }
}

static void tick_locked(hk_heap_t *heap)
{
    if (++heap->operations < OPERATIONS_PER_CLOCK) {
        return;
    }
    heap->operations = 0;
    uint64_t now = hk_os_clock_ms();
    if (now - heap->epoch_ms >= HK_DECAY_MS) {
        heap->epoch_ms = now;
        end_epoch_locked(heap, EPOCH_MAGAZINES);
        release_empties_locked(heap);
    }
}

bool hk_heap_decay(hk_heap_t *heap, uint64_t now_ms)
{
    if (!hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        return false;
    }
    bool due = now_ms - heap->epoch_ms >= HK_DECAY_MS;
    bool more = due && !dissolve_surplus_locked(heap, EPOCH_MAGAZINES);
    if (due && !more) {
        heap->epoch_ms = now_ms;
        drain_inbox_locked(heap);
        end_epoch_locked(heap, 0);
        release_empties_locked(heap);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return more;
}

void hk_heap_relieve(hk_heap_t *heap)
{
    if (hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        drain_inbox_locked(heap);
        end_epoch_locked(heap, EPOCH_MAGAZINES);
        release_empties_locked(heap);
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
    }
}

void hk_heap_reclaim(hk_heap_t *heap, size_t limit)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    drain_inbox_locked(heap);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        hk_magazine_t *magazine;
        while (limit > 0 && (magazine = pop_depot(heap, class_index)) != NULL) {
            limit -= magazine->count < limit ? magazine->count : limit;
            dissolve_locked(heap, magazine);
            keep_spare(heap, magazine);
        }
    }
    release_empties_locked(heap);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

/* ---- What caches ask for ---- */

/* Adds a slab to the class: the kept empty one, else one of the pool.  Opens the lock for the pool. */
static bool add_slab_relocking(hk_heap_t *heap, unsigned class_index)
{
    hk_slab_t *slab = take_empty(heap, class_index);
    if (slab != NULL) {
        heap->own_acquires++;
    } else {
        if (++heap->acquires % ACQUIRES_PER_EPOCH == 0) {
            end_epoch_locked(heap, EPOCH_MAGAZINES);
        }
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
        slab = hk_pool_acquire(heap->pool, heap, hk_class_info[class_index].units,
                               (uint8_t)class_index);
        hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
        if (slab == NULL) {
            return false;
        }
        hk_slab_start(slab, heap->owner);
        heap->units += slab->units;
    }
    link_slab(heap, slab, bucket_of(slab));
    return true;
}

/* The lowest address must be popped first: a program's next blocks then lie in order. */
static void reverse(void **blocks, unsigned count)
{
    for (unsigned low = 0, high = count - 1; low < high; low++, high--) {
        void *block = blocks[low];
        blocks[low] = blocks[high];
        blocks[high] = block;
    }
}

hk_magazine_t *hk_heap_load(hk_heap_t *heap, unsigned class_index, hk_magazine_t *empty,
                            unsigned kind)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    drain_inbox_locked(heap);
    tick_locked(heap);
    hk_magazine_t *loaded = pop_depot(heap, class_index);
    if (loaded == NULL) {
        hk_magazine_t *target = empty;
        if (empty == NULL || empty->kind < kind) {
            target = take_spare(heap, kind);
            target = target != NULL ? target : empty;
        }
        unsigned most = hk_policy_magazine_blocks(hk_class_info[class_index].block_bytes);
        unsigned count = 0;
        bool unsettled = false;
        if (target != NULL) {
            most = most < target->capacity ? most : target->capacity;
            do {
                count = take_blocks_locked(heap, class_index, target->slot, most, &unsettled);
            } while (count == 0 && add_slab_relocking(heap, class_index));
        }
        if (count > 0) {
            reverse(target->slot, count);
            target->count = (uint16_t)count;
            target->marks = unsettled ? HK_MARKS_MIXED : HK_MARKS_CLEAR;
            loaded = target;
        } else if (target != NULL && target != empty) {
            keep_spare(heap, target);
        }
    }
    if (loaded != NULL && loaded != empty && empty != NULL) {
        keep_spare(heap, empty);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return loaded;
}

hk_magazine_t *hk_heap_unload(hk_heap_t *heap, unsigned class_index, hk_magazine_t *full,
                              unsigned kind)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    tick_locked(heap);
    hk_magazine_t *empty = NULL;
    if (hk_heap_depot_bytes(heap) < hk_policy_depot_bytes(heap->units * HK_UNIT_BYTES)) {
        empty = take_spare(heap, kind);
    }
    if (empty == NULL) {
        dissolve_locked(heap, full);
        empty = full;
    } else {
        full->class_index = (uint16_t)class_index;
        push_depot(heap, class_index, full);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return empty;
}

hk_magazine_t *hk_heap_take_magazine(hk_heap_t *heap, unsigned kind)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_magazine_t *magazine = take_spare(heap, kind);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return magazine;
}

hk_magazine_t *hk_heap_exchange_empty(hk_heap_t *heap, hk_magazine_t *empty, unsigned kind)
{
    if (empty->kind >= kind) {
        return empty;
    }
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    hk_magazine_t *larger = take_spare(heap, kind);
    if (larger != NULL) {
        keep_spare(heap, empty);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return larger != NULL ? larger : empty;
}

void hk_heap_dissolve(hk_heap_t *heap, hk_magazine_t *magazine)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    dissolve_locked(heap, magazine);
    keep_spare(heap, magazine);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

void hk_heap_hand_over(hk_heap_t *heap, hk_magazine_t *magazine)
{
    hk_magazine_t *head = hk_load_relaxed(&heap->inbox); /* relaxed: the CAS orders */
    do {
        magazine->next = head;
        /* release: pairs with the exchange in drain_inbox_locked.  The inbox is only ever taken whole, so that a head which comes
         * back is still the head (no ABA). */
    } while (!hk_cas_acq_rel(&heap->inbox, &head, magazine));
    /* relaxed, and not even atomic as a whole: a hint that bounds the inbox roughly */
    uint32_t count = hk_load_relaxed(&heap->inbox_count) + 1;
    hk_store_relaxed(&heap->inbox_count, count);
    if (HK_UNLIKELY(count > HK_INBOX_MAGAZINES) && hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        drain_inbox_locked(heap);
        tick_locked(heap);
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
    }
}

/* The newest block of the depot, or NULL. */
static void *take_stocked_locked(hk_heap_t *heap, unsigned class_index)
{
    hk_magazine_t *magazine = heap->classes[class_index].depot.stack;
    if (magazine == NULL) {
        return NULL;
    }
    void *block = magazine->slot[--magazine->count];
    count_depot_bytes(heap, -(size_t)hk_class_info[class_index].block_bytes);
    if (magazine->count == 0) {
        keep_spare(heap, pop_depot(heap, class_index));
    }
    return block;
}

void *hk_heap_take_block(hk_heap_t *heap, unsigned class_index)
{
    bool unsettled = false; /* no matter: the bit is set in any case */
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    drain_inbox_locked(heap);
    void *block = take_stocked_locked(heap, class_index);
    while (block == NULL && take_blocks_locked(heap, class_index, &block, 1, &unsettled) == 0 &&
           add_slab_relocking(heap, class_index)) {
    }
    if (block != NULL && heap->owner != HK_OWNER_NONE) {
        hk_live_set(block);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return block;
}

/* The fullest partial slab of the class; at level 2 a random one of the first few. */
static hk_slab_t *pick_partial_locked(hk_heap_t *heap, unsigned class_index)
{
    hk_slab_t *slab = NULL;
    for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS && slab == NULL; bucket++) {
        slab = heap->classes[class_index].partial[bucket];
    }
    unsigned steps = hk_options.harden < 2 ? 0 : hk_random_below(&heap->random, 8);
    for (; steps > 0 && slab != NULL && slab->next != NULL; steps--) {
        slab = slab->next;
    }
    return slab;
}

unsigned hk_heap_take_blocks(hk_heap_t *heap, unsigned class_index, void **blocks, unsigned count)
{
    unsigned taken = 0;
    hk_slab_t *slab;
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    while ((slab = pick_partial_locked(heap, class_index)) == NULL &&
           add_slab_relocking(heap, class_index)) {
    }
    if (slab != NULL) {
        unlink_slab(heap, slab);
        if (hk_options.harden < 2) {
            taken = hk_slab_take(slab, blocks, count);
        }
        while (taken < count && slab->free_blocks > 0) {
            blocks[taken++] = hk_slab_take_random(slab, hk_random_next(&heap->random));
        }
        if (slab->free_blocks > 0) {
            link_slab(heap, slab, bucket_of(slab));
        }
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return taken;
}

void hk_heap_put_block(hk_heap_t *heap, hk_slab_t *slab, void *block)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    put_block_locked(heap, slab, block, hk_live_is_set(block));
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
    for (unsigned kind = 0; kind < HK_MAGAZINE_KINDS; kind++) {
        hk_magazine_t *magazine;
        while ((magazine = hk_magazine_pop_list(&heap->spare[kind])) != NULL) {
            hk_meta_free(HK_META_MAGAZINE + kind, magazine);
        }
    }
    hk_pool_destroy(heap->pool);
    hk_meta_free(HK_META_HEAP, heap);
}

void hk_heap_reset(hk_heap_t *heap)
{
    hk_lock_reset(&heap->lock);
}
