/*
 * pool_part: see pool_part.h.
 */
#include "pool_part.h"

#include "cap.h"
#include "parts.h"

hk_pool_t hk_pool_parts[HK_PARTS];
_Atomic uint32_t hk_pool_last_part;

static _Atomic uint32_t users[HK_PARTS]; /* atomic: heaps that use the part; relaxed: hints */

/* ---- Which part ---- */

static uint32_t users_of(uint32_t part)
{
    return hk_load_relaxed(&users[part]);
}

void hk_pool_part_join(void)
{
    hk_add_relaxed(&users[0], 1);
}

hk_pool_t *hk_pool_part_move(hk_pool_t *part)
{
    uint32_t from = (uint32_t)(part - hk_pool_parts);
    uint32_t best = from;
    if (users_of(from) <= 1) {
        return part;
    }
    for (uint32_t i = 0; i < hk_parts_most(); i++) {
        best = users_of(i) < users_of(best) ? i : best;
    }
    if (users_of(best) + 1 >= users_of(from)) {
        return part;
    }
    hk_add_relaxed(&users[best], 1);
    hk_sub_relaxed(&users[from], 1);
    hk_parts_use(&hk_pool_last_part, best);
    return &hk_pool_parts[best];
}

/* ---- Slabs ---- */

/* A slab out of another part.  By stage 1: only where nobody holds the lock just now.  By stage 2,
 * as a last resort: the locks are waited for. */
static hk_slab_t *take_elsewhere(const hk_pool_t *own, struct hk_heap *heap, unsigned units,
                                 uint8_t class_index, hk_stage_t last)
{
    hk_slab_t *slab = NULL;
    for (hk_pool_t *part = NULL; slab == NULL && (part = hk_pool_part_next(part)) != NULL;) {
        bool wait = last != HK_STAGE_WARM;
        if (part == own || (!wait && (hk_pool_warm_units(part) < units ||
                                      !hk_lock_try_acquire(&part->lock, HK_RANK_POOL)))) {
            continue;
        }
        if (wait) {
            hk_lock_acquire(&part->lock, HK_RANK_POOL);
        }
        slab = hk_pool_take_locked(part, heap, units, class_index, last);
        hk_lock_release(&part->lock, HK_RANK_POOL);
    }
    return slab;
}

static hk_slab_t *acquire(hk_pool_t *own, uint32_t *strain, struct hk_heap *heap, unsigned units,
                          uint8_t class_index, hk_stage_t last)
{
    bool alone = hk_load_relaxed(&hk_pool_last_part) == 0; /* relaxed: a hint */
    hk_stage_t stage = alone && last != HK_STAGE_WARM ? HK_STAGE_UNUSED : HK_STAGE_WARM;
    hk_lock_acquire_strained(&own->lock, HK_RANK_POOL, strain);
    hk_slab_t *slab = hk_pool_take_locked(own, heap, units, class_index, stage);
    hk_lock_release(&own->lock, HK_RANK_POOL);
    if (slab == NULL && !alone) {
        slab = take_elsewhere(own, heap, units, class_index, HK_STAGE_WARM);
    }
    if (slab != NULL || last == HK_STAGE_WARM) {
        return slab;
    }
    if (!alone) {
        hk_lock_acquire(&own->lock, HK_RANK_POOL);
        slab = hk_pool_take_locked(own, heap, units, class_index, HK_STAGE_UNUSED);
        hk_lock_release(&own->lock, HK_RANK_POOL);
    }
    slab = slab != NULL ? slab : hk_pool_take_new(own, heap, units, class_index);
    return slab != NULL ? slab : take_elsewhere(own, heap, units, class_index, HK_STAGE_UNUSED);
}

hk_slab_t *hk_pool_part_acquire(hk_pool_t *part, uint32_t *strain, struct hk_heap *heap,
                                unsigned units, uint8_t class_index, hk_stage_t last)
{
    /* By stage 1 alone a cap in the way is no hit: whoever asks so comes again. */
    if ((last == HK_STAGE_WARM && hk_cap_is_reached(class_index)) ||
        !hk_cap_charge(class_index, units)) {
        return NULL;
    }
    hk_slab_t *slab = acquire(part, strain, heap, units, class_index, last);
    if (slab == NULL) {
        hk_cap_uncharge(class_index, units);
    }
    return slab;
}

void hk_pool_part_release(hk_slab_t *slab)
{
    if (hk_pool_is_part(slab->superslab->pool)) {
        hk_cap_uncharge(slab->class_index, slab->units);
    }
    hk_pool_release(slab);
}

/* ---- Giving back ---- */

size_t hk_pool_part_warm_bytes(void)
{
    size_t bytes = 0;
    for (const hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        bytes += hk_pool_warm_bytes(part);
    }
    return bytes;
}

/* Purges the part that has most; returns the bytes given back. */
static size_t purge_fullest(size_t surplus, uint32_t keep_superslabs)
{
    hk_pool_t *fullest = hk_pool_parts;
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        fullest = hk_pool_warm_units(part) > hk_pool_warm_units(fullest) ? part : fullest;
    }
    uint32_t warm = hk_pool_warm_units(fullest);
    size_t units = surplus >> HK_UNIT_SHIFT;
    uint32_t keep = units < warm ? warm - (uint32_t)units : 0;
    return warm == 0 ? 0 : hk_pool_purge(fullest, keep, keep_superslabs);
}

size_t hk_pool_part_purge(size_t keep_bytes, uint32_t keep_superslabs)
{
    size_t bytes = 0;
    if (keep_bytes == 0) { /* superslabs without a warm unit go too */
        for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
            bytes += hk_pool_purge(part, 0, keep_superslabs);
        }
        return bytes;
    }
    size_t warm = hk_pool_part_warm_bytes();
    size_t surplus = warm > keep_bytes ? warm - keep_bytes : 0;
    size_t more = 1;
    while (bytes + HK_UNIT_BYTES <= surplus && more != 0) {
        more = purge_fullest(surplus - bytes, keep_superslabs);
        bytes += more;
    }
    return bytes;
}

size_t hk_pool_part_maintain(uint64_t now_ms)
{
    /* relaxed: a number that only rises */
    uint32_t kept = hk_policy_kept_units(hk_load_relaxed(&hk_pool_last_part) + 1);
    size_t left = HK_DECAY_STEP_BYTES;
    size_t surplus = 0;
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        if (hk_lock_try_acquire(&part->lock, HK_RANK_POOL)) {
            surplus += hk_pool_maintain_unlocking(part, now_ms, kept, &left);
        } else { /* somebody else comes by there */
            surplus += hk_epoch_surplus(hk_pool_warm_units(part), kept) << HK_UNIT_SHIFT;
        }
    }
    return surplus;
}

/* ---- The whole ---- */

void hk_pool_part_inherit(const hk_pool_t *pool)
{
    hk_lock_acquire(&hk_pool_parts[0].lock, HK_RANK_POOL);
    hk_pool_parts[0].purged_units += pool->purged_units;
    for (unsigned stage = 0; stage < HK_STAGE_COUNT; stage++) {
        hk_pool_parts[0].acquires[stage] += pool->acquires[stage];
    }
    hk_lock_release(&hk_pool_parts[0].lock, HK_RANK_POOL);
}

void hk_pool_part_reset_locks(void)
{
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        hk_lock_reset(&part->lock);
    }
}
