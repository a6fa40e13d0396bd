/*
 * pool_part: see pool_part.h.
 */
#include "pool_part.h"

#include "cap.h"
#include "parts.h"

enum { SEARCHED_PARTS = 4 };

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
    for (uint32_t i = 0, most = hk_parts_most(); i < most; i++) {
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

/* How many are in use. */
static uint32_t count_parts(void)
{
    return hk_load_relaxed(&hk_pool_last_part) + 1; /* relaxed: see hk_pool_part_next */
}

/* The part in use after the given one; the first one after the last. */
static hk_pool_t *next_in_turn(const hk_pool_t *part)
{
    hk_pool_t *next = hk_pool_part_next(part);
    return next != NULL ? next : hk_pool_parts;
}

/* ---- Slabs ---- */

/* A slab out of warm units of another part, where nobody holds the lock just now.  Not all parts
 * are searched: each may take some microseconds, for nothing if its warm units are scattered. */
static hk_slab_t *take_warm_elsewhere(const hk_pool_t *own, struct hk_heap *heap, unsigned units,
                                      uint8_t class_index)
{
    hk_slab_t *slab = NULL;
    unsigned searched = 0;
    for (hk_pool_t *part = next_in_turn(own);
         part != own && slab == NULL && searched < SEARCHED_PARTS; part = next_in_turn(part)) {
        if (hk_pool_warm_units(part) >= units && hk_lock_try_acquire(&part->lock, HK_RANK_POOL)) {
            slab = hk_pool_take_locked(part, heap, units, class_index, HK_STAGE_WARM);
            hk_lock_release(&part->lock, HK_RANK_POOL);
            searched++;
        }
    }
    return slab;
}

/* A slab out of any units of another part, when there is no memory for more superslabs. */
static hk_slab_t *take_any_elsewhere(const hk_pool_t *own, struct hk_heap *heap, unsigned units,
                                     uint8_t class_index)
{
    hk_slab_t *slab = NULL;
    for (hk_pool_t *part = next_in_turn(own); part != own && slab == NULL;
         part = next_in_turn(part)) {
        hk_lock_acquire(&part->lock, HK_RANK_POOL);
        slab = hk_pool_take_locked(part, heap, units, class_index, HK_STAGE_UNUSED);
        hk_lock_release(&part->lock, HK_RANK_POOL);
    }
    return slab;
}

static hk_slab_t *acquire_warm(hk_pool_t *own, uint32_t *strain, struct hk_heap *heap,
                               unsigned units, uint8_t class_index)
{
    hk_lock_acquire_strained(&own->lock, HK_RANK_POOL, strain);
    hk_slab_t *slab = hk_pool_take_locked(own, heap, units, class_index, HK_STAGE_WARM);
    hk_lock_release(&own->lock, HK_RANK_POOL);
    return slab != NULL ? slab : take_warm_elsewhere(own, heap, units, class_index);
}

/* At the cap there is no hit to count: whoever finds nothing warm comes to hk_pool_part_acquire. */
hk_slab_t *hk_pool_part_acquire_warm(hk_pool_t *part, uint32_t *strain, struct hk_heap *heap,
                                     unsigned units, uint8_t class_index)
{
    if (hk_cap_is_reached(class_index) || !hk_cap_charge(class_index, units)) {
        return NULL;
    }
    hk_slab_t *slab = acquire_warm(part, strain, heap, units, class_index);
    if (slab == NULL) {
        hk_cap_uncharge(class_index, units);
    }
    return slab;
}

hk_slab_t *hk_pool_part_acquire(hk_pool_t *part, struct hk_heap *heap, unsigned units,
                                uint8_t class_index)
{
    if (!hk_cap_charge(class_index, units)) {
        return NULL;
    }
    hk_slab_t *slab = hk_pool_acquire(part, heap, units, class_index);
    slab = slab != NULL ? slab : take_any_elsewhere(part, heap, units, class_index);
    if (slab == NULL) {
        hk_cap_uncharge(class_index, units);
    }
    return slab;
}

void hk_pool_part_release(hk_slab_t *slab, bool may_have_live_bits)
{
    hk_cap_uncharge(slab->class_index, slab->units);
    hk_pool_release(slab, may_have_live_bits);
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

static_assert(HK_PARTS <= 32, "a bit for each part");

static uint32_t bit_of(const hk_pool_t *part)
{
    return 1u << (part - hk_pool_parts);
}

/* The part that has most warm units, of those whose bit is not set in passed; NULL if no such part
 * has any. */
static hk_pool_t *find_fullest(uint32_t passed)
{
    hk_pool_t *fullest = NULL;
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        uint32_t most = fullest != NULL ? hk_pool_warm_units(fullest) : 0;
        if ((passed & bit_of(part)) == 0 && hk_pool_warm_units(part) > most) {
            fullest = part;
        }
    }
    return fullest;
}

/* Gives about so many bytes back.  Each part gives once, so this ends even if others never stop
 * freeing. */
static size_t give_back(size_t surplus, uint32_t keep_superslabs)
{
    uint32_t parts = count_parts();
    uint32_t keep_each = keep_superslabs / parts + (keep_superslabs % parts != 0);
    size_t bytes = 0;
    uint32_t passed = 0;
    hk_pool_t *part;
    while (bytes + HK_UNIT_BYTES <= surplus && (part = find_fullest(passed)) != NULL) {
        uint32_t units = (uint32_t)((surplus - bytes) >> HK_UNIT_SHIFT);
        uint32_t has = hk_pool_warm_units(part);
        bytes += hk_pool_purge(part, (uint32_t)hk_above(has, units), keep_each);
        passed |= bit_of(part);
    }
    return bytes;
}

size_t hk_pool_part_purge(size_t keep_bytes, uint32_t keep_superslabs)
{
    size_t bytes = 0;
    if (keep_bytes != 0) {
        size_t warm = hk_pool_part_warm_bytes();
        return give_back(hk_above(warm, keep_bytes), keep_superslabs);
    }
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        bytes += hk_pool_purge(part, 0, keep_superslabs); /* those without warm units too */
    }
    return bytes;
}

/* The epoch of all parts together: the parts' own would keep in each what only one of them needs at
 * a time.  Its low water is the least that was seen. */
static struct {
    hk_lock_t lock;
    hk_epoch_t epoch; /* lock(together) */
} together;

void hk_pool_part_note(void)
{
    if (count_parts() > 1 && hk_lock_try_acquire(&together.lock, HK_RANK_POOL)) {
        hk_epoch_note(&together.epoch, hk_pool_part_warm_bytes());
        hk_lock_release(&together.lock, HK_RANK_POOL);
    }
}

static size_t maintain_together(uint64_t now_ms, size_t *left)
{
    const size_t kept = HK_KEPT_UNITS * HK_UNIT_BYTES;
    size_t bytes = 0;
    if (hk_lock_try_acquire(&together.lock, HK_RANK_POOL)) { /* else another thread does it */
        size_t warm = hk_pool_part_warm_bytes();
        hk_epoch_note(&together.epoch, warm);
        bytes = hk_epoch_take(&together.epoch, now_ms, warm, kept,
                              *left & ~(size_t)(HK_UNIT_BYTES - 1));
        hk_lock_release(&together.lock, HK_RANK_POOL);
    }
    if (bytes > 0) {
        *left -= bytes;
        (void)give_back(bytes, hk_policy_empty_superslabs(hk_superslab_count()));
    }
    return hk_above(hk_pool_part_warm_bytes(), kept);
}

/* Looks for a dense superslab in one part, each time in another. */
static void make_dense_huge(uint64_t now_ms)
{
    static _Atomic uint32_t turn; /* atomic: a hint; relaxed */
    hk_pool_t *part = &hk_pool_parts[hk_add_relaxed(&turn, 1) % count_parts()];
    if (hk_lock_try_acquire(&part->lock, HK_RANK_POOL)) {
        hk_superslab_t *dense = hk_pool_find_dense_locked(part, now_ms);
        hk_lock_release(&part->lock, HK_RANK_POOL);
        if (dense != NULL) {
            hk_pool_make_huge(part, dense);
        }
    }
}

size_t hk_pool_part_maintain(uint64_t now_ms, size_t *left)
{
    if (count_parts() == 1) {
        return hk_pool_maintain(hk_pool_parts, now_ms, left);
    }
    make_dense_huge(now_ms);
    return maintain_together(now_ms, left);
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
    hk_lock_reset(&together.lock);
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        hk_lock_reset(&part->lock);
    }
}
