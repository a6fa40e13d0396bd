/*
 * pool, releasing: taking slabs back, and giving memory back to the system.  See pool.h.
 */
#include "bitrange.h"
#include "limit.h"
#include "log.h"
#include "policy.h"
#include "pool.h"

/* Empty superslabs that one purge takes out of the pool at a time. */
enum { PURGE_BATCH = 16 };

static void return_units_locked(hk_pool_t *pool, hk_superslab_t *superslab, unsigned first,
                                unsigned units)
{
    uint32_t mask = hk_pool_mask(first, units);
    hk_assert(2, (superslab->free_units & mask) == 0);
    hk_pool_count_warm_locked(pool, units);
    pool->used_units -= units;
    for (unsigned unit = first; unit < first + units; unit++) {
        superslab->slab_of[unit] = (uint8_t)unit;
        superslab->slabs[unit].units = 0;
    }
    hk_pool_set_free_locked(pool, superslab, superslab->free_units | mask);
}

/* Live bits that are set though no block is live are cleared under the lock, because under it they
 * may be counted (pool_dense.c). */
void hk_pool_release(hk_slab_t *slab, bool may_have_live_bits)
{
    hk_pool_t *pool = slab->superslab->pool;
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    if (may_have_live_bits) {
        hk_live_clear_units(hk_slab_base(slab), slab->units);
    }
    hk_assert(2, hk_live_count_units(hk_slab_base(slab), slab->units) == 0);
    return_units_locked(pool, slab->superslab, slab->first_unit, slab->units);
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}

/* Takes up to PURGE_BATCH empty superslabs out of the pool, beyond the first keep ones and as long
 * as keep_units stay warm; returns how many. */
static unsigned take_empty_locked(hk_pool_t *pool, uint32_t keep_units, uint32_t keep,
                                  hk_superslab_t **taken)
{
    unsigned count = 0;
    hk_superslab_t *next = pool->by_free[HK_SLAB_UNITS_MAX];
    for (uint32_t kept = 0; next != NULL && count < PURGE_BATCH; kept++) {
        hk_superslab_t *superslab = next;
        next = superslab->next;
        uint32_t warm = (uint32_t)hk_bitrange_sum(superslab->dirty_units);
        if (superslab->pinned || kept < keep || hk_pool_warm_units(pool) < keep_units + warm) {
            continue;
        }
        hk_pool_remove_locked(pool, superslab);
        taken[count++] = superslab;
    }
    if (count > 0) {
        hk_limit_begin_leaving();
    }
    return count;
}

/* Frees superslabs and notes what has gone; returns the bytes. */
static size_t free_taken(hk_pool_t *pool, hk_superslab_t *const *taken, unsigned count)
{
    size_t units = 0;
    for (unsigned i = 0; i < count; i++) {
        units += hk_superslab_free(taken[i]);
    }
    hk_limit_end_leaving();
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    pool->purged_units += units;
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    return units << HK_UNIT_SHIFT;
}

/* No more than there are now: others may leave empty ones all the time. */
static size_t free_empty_superslabs(hk_pool_t *pool, uint32_t keep_units, uint32_t keep)
{
    hk_superslab_t *taken[PURGE_BATCH];
    size_t bytes = 0;
    unsigned count = PURGE_BATCH;
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    uint64_t left = pool->superslabs;
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    while (count == PURGE_BATCH && left > 0) {
        hk_lock_acquire(&pool->lock, HK_RANK_POOL);
        count = take_empty_locked(pool, keep_units, keep, taken);
        hk_lock_release(&pool->lock, HK_RANK_POOL);
        bytes += count > 0 ? free_taken(pool, taken, count) : 0;
        left -= hk_least(left, count);
    }
    return bytes;
}

/* The emptiest superslab that has warm units and is not pinned. */
static hk_superslab_t *find_warm_locked(const hk_pool_t *pool)
{
    for (unsigned list = HK_SLAB_UNITS_MAX; list > 0; list--) {
        for (hk_superslab_t *s = pool->by_free[list]; s != NULL; s = s->next) {
            if ((s->free_units & s->dirty_units) != 0 && !s->pinned) {
                return s;
            }
        }
    }
    return NULL;
}

/* The lowest count bits of the mask, or all if it has fewer. */
static uint32_t lowest_bits(uint32_t mask, uint32_t count)
{
    uint32_t rest = mask;
    for (; count > 0 && rest != 0; count--) {
        rest &= rest - 1;
    }
    return mask & ~rest;
}

/* Purges the warm units of one superslab.  While the lock is open for the system call, they belong
 * to nobody. */
static size_t purge_one(hk_pool_t *pool, uint32_t keep_units)
{
    size_t bytes = 0;
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    hk_superslab_t *superslab =
        hk_pool_warm_units(pool) > keep_units ? find_warm_locked(pool) : NULL;
    if (superslab != NULL) {
        uint32_t mask = lowest_bits(superslab->free_units & superslab->dirty_units,
                                    hk_pool_warm_units(pool) - keep_units);
        uint32_t units = (uint32_t)hk_bitrange_sum(mask);
        hk_pool_count_warm_locked(pool, -units);
        hk_pool_set_free_locked(pool, superslab, superslab->free_units & ~mask);
        bool was_huge = superslab->huge;
        superslab->huge = false;
        hk_limit_begin_leaving();
        hk_lock_release(&pool->lock, HK_RANK_POOL);
        bool idle_gone = was_huge && hk_superslab_make_small(superslab);
        bool done = hk_superslab_purge_units(superslab, mask);
        hk_lock_acquire(&pool->lock, HK_RANK_POOL);
        hk_pool_set_free_locked(pool, superslab, superslab->free_units | mask);
        superslab->idle_dirty = superslab->idle_dirty && !idle_gone;
        if (done) {
            hk_limit_uncharge((size_t)units << HK_UNIT_SHIFT);
            superslab->dirty_units &= ~mask;
            pool->purged_units += units;
            bytes = (size_t)units << HK_UNIT_SHIFT;
        } else {
            hk_pool_count_warm_locked(pool, units);
        }
        hk_limit_end_leaving();
    }
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    return bytes;
}

/* Gives back as much as there is now: others free memory meanwhile, and this must end even if they
 * never stop. */
size_t hk_pool_purge(hk_pool_t *pool, uint32_t keep_units, uint32_t keep_superslabs)
{
    size_t keep_bytes = (size_t)keep_units << HK_UNIT_SHIFT;
    size_t warm = hk_pool_warm_bytes(pool);
    size_t bytes = free_empty_superslabs(pool, keep_units, keep_superslabs);
    size_t more = 1;
    while (bytes + keep_bytes < warm && more != 0) {
        more = purge_one(pool, keep_units);
        bytes += more;
    }
    return bytes;
}

size_t hk_pool_warm_bytes(const hk_pool_t *pool)
{
    return (size_t)hk_pool_warm_units(pool) << HK_UNIT_SHIFT;
}

size_t hk_pool_maintain(hk_pool_t *pool, uint64_t now_ms, size_t *left)
{
    size_t most = *left >> HK_UNIT_SHIFT;
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    size_t warm = hk_pool_warm_units(pool);
    size_t units = hk_epoch_take(&pool->epoch, now_ms, warm, HK_KEPT_UNITS, most);
    uint32_t keep_superslabs = hk_policy_empty_superslabs(pool->superslabs);
    hk_superslab_t *dense = hk_pool_find_dense_locked(pool, now_ms);
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    if (units > 0) {
        *left -= units << HK_UNIT_SHIFT;
        (void)hk_pool_purge(pool, (uint32_t)(warm - units), keep_superslabs);
    }
    if (dense != NULL) {
        hk_pool_make_huge(pool, dense);
    }
    return hk_above(warm - units, HK_KEPT_UNITS) << HK_UNIT_SHIFT;
}
