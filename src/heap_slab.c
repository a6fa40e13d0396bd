/*
 * heap_slab: see heap_slab.h.
 */
#include "heap_slab.h"

#include "heap_depot.h"
#include "heap_hole.h"
#include "list.h"
#include "log.h"
#include "options.h"
#include "random.h"

/* A hardened heap at level 2 chooses one of so many slabs. */
enum { RANDOM_SLABS = 8 };

static size_t bytes_of(unsigned class_index, size_t blocks)
{
    return blocks * hk_class_info[class_index].block_bytes;
}

/* Adds bytes, or by wrapping subtracts them, to what the free blocks in slabs have. */
static void count_free(hk_heap_t *heap, size_t bytes)
{
    hk_store_relaxed(&heap->free_bytes, hk_heap_free_bytes(heap) + bytes);
}

static void note_low_water(hk_heap_t *heap)
{
    heap->free_low_water = hk_least(heap->free_low_water, hk_heap_free_bytes(heap));
}

static unsigned bucket_of(const hk_slab_t *slab)
{
    return (slab->free_blocks - 1u) * HK_SLAB_BUCKETS /
           hk_class_info[slab->class_index].block_count;
}

/* How many free blocks a slab of the bucket has at most.  An empty slab is in none. */
static uint16_t bucket_last(const hk_slab_t *slab, unsigned bucket)
{
    unsigned block_count = hk_class_info[slab->class_index].block_count;
    unsigned last = ((bucket + 1) * block_count + HK_SLAB_BUCKETS - 1) / HK_SLAB_BUCKETS;
    return (uint16_t)(last < block_count ? last : block_count - 1);
}

static void link_slab(hk_heap_t *heap, hk_slab_t *slab, unsigned bucket)
{
    slab->bucket = (uint8_t)bucket;
    slab->bucket_last = bucket_last(slab, bucket);
    HK_LIST_PUSH(heap->classes[slab->class_index].partial[bucket], slab, next, prev);
}

static void unlink_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    hk_heap_hole_skip_locked(heap, slab);
    slab->bucket_last = 0;
    HK_LIST_REMOVE(heap->classes[slab->class_index].partial[slab->bucket], slab, next, prev);
}

/* Whether live bits of a slab that is empty may be set.  Threads that share a heap leave some that
 * nobody notes.  relaxed: whoever has shared the heap and written a bit of this slab held one of
 * its blocks, which has come back under lock(heap) since. */
static bool may_have_live_bits(const hk_heap_t *heap, const hk_slab_t *slab)
{
    return slab->unsettled != 0 || hk_load_relaxed(&heap->shared);
}

static void release_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    bool may_have_bits = may_have_live_bits(heap, slab);
    count_free(heap, -bytes_of(slab->class_index, hk_class_info[slab->class_index].block_count));
    note_low_water(heap);
    hk_heap_hole_forget_locked(heap, slab);
    hk_slab_stop(slab, heap->owner);
    hk_store_relaxed(&heap->units, hk_heap_units(heap) - slab->units);
    heap->given_units += slab->units;
    if (hk_pool_is_part(slab->superslab->pool)) {
        hk_pool_part_release(slab, may_have_bits);
    } else {
        hk_pool_release(slab, may_have_bits);
    }
}

static void count_empty(hk_heap_t *heap, size_t units)
{
    hk_store_relaxed(&heap->empty_units, hk_heap_empty_units(heap) + units);
}

/* Whether one more empty slab is kept.  In general empty slabs go to the pool, where they serve all
 * classes and threads.  But a program that frees much at once soon allocates it again, and by way
 * of the pool each slab would take the lock of a part twice. */
static bool may_keep(const hk_heap_t *heap, const hk_slab_t *slab)
{
    size_t units = hk_heap_empty_units(heap) + slab->units;
    bool many = heap->owner != HK_OWNER_NONE &&
                heap->given_units >= hk_policy_given_units(hk_heap_units(heap));
    return many ? units <= HK_EMPTY_UNITS_MAX
                : units <= HK_EMPTY_UNITS_MIN && heap->classes[slab->class_index].empty == NULL;
}

/* A slab has become empty, and is in no list: keep it for its class until the epoch ends or others
 * need it, or release it. */
static void retire_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    hk_heap_class_t *class = &heap->classes[slab->class_index];
    if (may_keep(heap, slab)) {
        slab->next = class->empty;
        class->empty = slab;
        count_empty(heap, slab->units);
    } else {
        release_slab(heap, slab);
    }
}

static hk_slab_t *take_empty(hk_heap_t *heap, unsigned class_index)
{
    hk_slab_t *slab = heap->classes[class_index].empty;
    if (slab != NULL) {
        heap->classes[class_index].empty = slab->next;
        count_empty(heap, -(size_t)slab->units);
    }
    return slab;
}

/* A slab has got more free blocks than its list is for. */
static void move_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    if (slab->bucket_last != 0) {
        unlink_slab(heap, slab);
    }
    if (slab->free_blocks == hk_class_info[slab->class_index].block_count) {
        retire_slab(heap, slab);
    } else {
        link_slab(heap, slab, bucket_of(slab));
    }
}

/* Notes that blocks of so many bytes have come into the slab, which may be the pool's after
 * this. */
HK_INLINE void note_put(hk_heap_t *heap, hk_slab_t *slab, size_t bytes, bool unsettled)
{
    count_free(heap, bytes);
    slab->unsettled |= unsettled;
    if (HK_UNLIKELY(slab->free_blocks > slab->bucket_last)) {
        move_slab(heap, slab);
    }
}

static HK_COLD _Noreturn void reject(const hk_slab_t *slab, const void *block)
{
    hk_heap_reject(hk_slab_probe(slab, block), block);
}

/* Puts one block into its slab, which is of the class. */
HK_INLINE void put_one(hk_heap_t *heap, hk_slab_t *slab, const hk_class_info_t *info, void *block,
                       bool unsettled)
{
    if (HK_UNLIKELY(!hk_slab_put_one(slab, info, block))) {
        reject(slab, block);
    }
    note_put(heap, slab, info->block_bytes, unsettled);
}

/* Puts the first blocks back, as many as are the slab's, which is one at least; returns how
 * many. */
HK_INLINE unsigned put_run(hk_heap_t *heap, hk_slab_t *slab, const hk_class_info_t *info,
                           void *const *blocks, unsigned count, bool unsettled)
{
    unsigned done = hk_slab_put(slab, blocks, count);
    if (HK_UNLIKELY(done == 0)) {
        reject(slab, *blocks);
    }
    note_put(heap, slab, (size_t)done * info->block_bytes, unsettled);
    return done;
}

void hk_heap_slab_put_locked(hk_heap_t *heap, hk_slab_t *slab, void *block, bool unsettled)
{
    hk_assert(2, hk_lock_is_held(&heap->lock));
    put_one(heap, slab, &hk_class_info[slab->class_index], block, unsettled);
}

/* Puts a block that the near table does not know into its slab. */
static HK_NOINLINE void put_by_map(hk_heap_t *heap, void *block, bool unsettled)
{
    hk_slab_t *slab = hk_slab_find(block);
    if (HK_UNLIKELY(slab == NULL || slab->heap != heap)) {
        hk_log_fatal("double free", block, "its slab has been given back since");
    }
    hk_heap_slab_put_locked(heap, slab, block, unsettled);
}

static bool are_in_one_unit(const void *a, const void *b)
{
    return ((uintptr_t)a ^ (uintptr_t)b) >> HK_UNIT_SHIFT == 0;
}

/* A block that the near table knows as the heap's needs no other test.  Blocks in a row that lie in
 * one slab share one look for it; others are put back one by one. */
void hk_heap_slab_put_all_locked(hk_heap_t *heap, void *const *blocks, unsigned count,
                                 bool unsettled)
{
    uint64_t tag = hk_heap_near_tag(heap);
    void *const *end = blocks + count;
    while (blocks < end) {
        void *block = *blocks;
        uint64_t class_index = (hk_registry_fold(block) ^ tag) >> HK_UNIT_SHIFT;
        if (HK_UNLIKELY(class_index >= HK_CLASS_COUNT)) {
            put_by_map(heap, block, unsettled);
            blocks++;
            continue;
        }
        const hk_class_info_t *info = &hk_class_info[class_index];
        hk_superslab_t *superslab = (hk_superslab_t *)hk_registry_find_known(block);
        hk_slab_t *slab = hk_superslab_slab_at(superslab, block);
        if (blocks + 1 < end && are_in_one_unit(block, blocks[1])) {
            blocks += put_run(heap, slab, info, blocks, (unsigned)(end - blocks), unsettled);
        } else {
            put_one(heap, slab, info, block, unsettled);
            blocks++;
        }
    }
}

static void relink_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    if (slab->free_blocks == 0) {
        unlink_slab(heap, slab);
    } else if (bucket_of(slab) != slab->bucket) {
        unlink_slab(heap, slab);
        link_slab(heap, slab, bucket_of(slab));
    }
}

/* The fullest partial slab of the class; of a hardened heap at level 2 a random one of the first
 * few. */
static hk_slab_t *pick_slab(hk_heap_t *heap, unsigned class_index)
{
    hk_slab_t *slab = NULL;
    for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS && slab == NULL; bucket++) {
        slab = heap->classes[class_index].partial[bucket];
    }
    unsigned steps = hk_options.harden < 2 ? 0 : hk_random_below(&heap->random, RANDOM_SLABS);
    for (; steps > 0 && slab != NULL && slab->next != NULL; steps--) {
        slab = slab->next;
    }
    return slab;
}

/* Takes up to count blocks of a slab, each of them one of the two lowest that are left.  So few
 * pages are touched, and blocks that were allocated one after another lie near to one another and
 * mostly in order, so that the processor fetches them ahead.  This is done by taking all but one in
 * order, and then letting each keep its place or swap it with the next one, which is cheaper. */
static unsigned take_lowest(hk_slab_t *slab, void **end, unsigned count, uint64_t *random)
{
    unsigned taken = count > 1 ? hk_slab_take(slab, end, count - 1) : 0;
    uint64_t chances = hk_random_next(random); /* magazines have less than 64 */
    void **place = end - taken;
    if (taken > 0) {
        uintptr_t kept = (uintptr_t)end[-1];
        for (end--; end > place; chances >>= 1) {
            uintptr_t next = (uintptr_t)end[-1];
            uintptr_t change = (kept ^ next) & -(uintptr_t)(chances & 1);
            *end-- = (void *)(kept ^ change); /* not by a branch, which nobody could foresee */
            kept = next ^ change;
        }
        *place = (void *)kept;
    }
    if (slab->free_blocks > 0) {
        place[-1] = hk_slab_take_either(slab, (chances & 1) != 0);
        taken++;
    }
    return taken;
}

/* Random ones. */
static unsigned take_at_random(hk_heap_t *heap, unsigned class_index, void **end, unsigned count,
                               bool *unsettled)
{
    unsigned taken = 0;
    hk_slab_t *slab;
    while (taken < count && (slab = pick_slab(heap, class_index)) != NULL) {
        if (hk_options.harden < 2) {
            taken += take_lowest(slab, end - taken, count - taken, &heap->random);
        }
        while (hk_options.harden >= 2 && taken < count && slab->free_blocks > 0) {
            end[-1 - (int)taken++] = hk_slab_take_random(slab, hk_random_next(&heap->random));
        }
        *unsettled |= slab->unsettled != 0;
        relink_slab(heap, slab);
    }
    return taken;
}

/* The lowest ones of one slab. */
HK_INLINE unsigned take_first(hk_heap_t *heap, hk_slab_t *slab, void **end, unsigned count,
                              bool *unsettled)
{
    unsigned taken = hk_slab_take(slab, end, count);
    *unsettled |= slab->unsettled != 0;
    if (HK_UNLIKELY(slab->holes_at != 0)) {
        hk_heap_hole_forget_locked(heap, slab);
    }
    return taken;
}

static unsigned take_in_order(hk_heap_t *heap, unsigned class_index, void **end, unsigned count,
                              bool *unsettled)
{
    hk_heap_class_t *class = &heap->classes[class_index];
    unsigned taken = 0;
    for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS && taken < count; bucket++) {
        hk_slab_t *slab;
        while (taken < count && (slab = class->partial[bucket]) != NULL) {
            taken += take_first(heap, slab, end - taken, count - taken, unsettled);
            relink_slab(heap, slab);
        }
    }
    return taken;
}

static void note_taken(hk_heap_t *heap, unsigned class_index, unsigned blocks)
{
    count_free(heap, -bytes_of(class_index, blocks));
    note_low_water(heap);
}

unsigned hk_heap_slab_take_locked(hk_heap_t *heap, unsigned class_index, void **end, unsigned count,
                                  bool *unsettled)
{
    unsigned taken = heap->hardened ? take_at_random(heap, class_index, end, count, unsettled)
                                    : take_in_order(heap, class_index, end, count, unsettled);
    note_taken(heap, class_index, taken);
    return taken;
}

unsigned hk_heap_slab_take_kept_locked(hk_heap_t *heap, unsigned class_index, void **end,
                                       unsigned count, bool *unsettled)
{
    unsigned taken = 0;
    hk_slab_t *slab;
    if (heap->hardened) {
        return 0;
    }
    while (taken < count && (slab = take_empty(heap, class_index)) != NULL) {
        heap->own_acquires++;
        taken += take_first(heap, slab, end - taken, count - taken, unsettled);
        if (slab->free_blocks > 0) {
            link_slab(heap, slab, bucket_of(slab));
        }
    }
    note_taken(heap, class_index, taken);
    return taken;
}

/* First-class heaps have no caps: for them the process's limit alone holds. */
static hk_slab_t *acquire_warm(hk_heap_t *heap, unsigned class_index)
{
    unsigned units = hk_class_info[class_index].units;
    return hk_pool_is_part(heap->pool)
               ? hk_pool_part_acquire_warm(heap->pool, &heap->pool_strain, heap, units,
                                           (uint8_t)class_index)
               : hk_pool_acquire_warm(heap->pool, heap, units, (uint8_t)class_index);
}

static hk_slab_t *acquire(hk_pool_t *pool, hk_heap_t *heap, unsigned class_index)
{
    unsigned units = hk_class_info[class_index].units;
    return hk_pool_is_part(pool) ? hk_pool_part_acquire(pool, heap, units, (uint8_t)class_index)
                                 : hk_pool_acquire(pool, heap, units, (uint8_t)class_index);
}

/* To another part of the Shared Pool, if the heap uses one and another is any better. */
static void move(hk_heap_t *heap)
{
    if (hk_pool_is_part(heap->pool)) {
        heap->pool = hk_pool_part_move(heap->pool);
        heap->pool_strain = 0;
    }
}

/* A slab from the pool.  Before the process grows for it, the heap gives the pool empty slabs that
 * it keeps, if they are many. */
static hk_slab_t *acquire_relocking(hk_heap_t *heap, unsigned class_index)
{
    if (heap->pool_strain >= HK_STRAIN_MAX) {
        move(heap);
    }
    hk_slab_t *slab = acquire_warm(heap, class_index);
    while (slab == NULL && hk_heap_empty_units(heap) > HK_EMPTY_UNITS_MIN) {
        (void)hk_heap_slab_release_empties_locked(heap, HK_EMPTY_STEP_UNITS);
        slab = acquire_warm(heap, class_index);
    }
    if (slab == NULL) {
        if (hk_heap_units(heap) >= HK_SLAB_UNITS_MAX) {
            move(heap);
        }
        hk_pool_t *pool = heap->pool;
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
        slab = acquire(pool, heap, class_index);
        hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    }
    return slab;
}

bool hk_heap_slab_add_relocking(hk_heap_t *heap, unsigned class_index)
{
    hk_slab_t *slab = take_empty(heap, class_index);
    if (slab != NULL) {
        heap->own_acquires++;
    } else {
        uint32_t acquires = hk_load_relaxed(&heap->acquires) + 1; /* relaxed: the lock is held */
        hk_store_relaxed(&heap->acquires, acquires);
        if (acquires % HK_EPOCH_ACQUIRES == 0) {
            hk_heap_depot_end_epoch_locked(heap, HK_EPOCH_MAGAZINES);
            hk_pool_part_note();
        }
        slab = acquire_relocking(heap, class_index);
        if (slab == NULL) {
            return false;
        }
        slab->hardened = heap->hardened;
        heap->given_units -= heap->given_units < slab->units ? heap->given_units : slab->units;
        hk_slab_start(slab, heap->owner);
        hk_store_relaxed(&heap->units, hk_heap_units(heap) + slab->units);
        count_free(heap, bytes_of(class_index, hk_class_info[class_index].block_count));
    }
    link_slab(heap, slab, bucket_of(slab));
    return true;
}

size_t hk_heap_slab_release_empties_locked(hk_heap_t *heap, size_t units)
{
    size_t before = hk_heap_empty_units(heap);
    size_t kept = hk_above(before, units);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        hk_slab_t *slab;
        while (hk_heap_empty_units(heap) > kept && (slab = take_empty(heap, class_index)) != NULL) {
            release_slab(heap, slab);
        }
    }
    return before - hk_heap_empty_units(heap);
}
