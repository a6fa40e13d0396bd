/*
 * pool, common part: the lists of superslabs, and the end of a pool.  See pool.h.
 */
#include "bitrange.h"
#include "list.h"
#include "log.h"
#include "pool.h"

static _Atomic size_t owned_warm_units; /* atomic: of first-class heaps' pools together; a hint */

bool hk_pool_owned_are_warm(void)
{
    return hk_load_relaxed(&owned_warm_units) != 0; /* relaxed: a hint */
}

void hk_pool_count_warm_locked(hk_pool_t *pool, uint32_t units)
{
    uint32_t warm = hk_pool_warm_units(pool) + units;
    if (pool->owned) {
        hk_add_relaxed(&owned_warm_units, (size_t)(int32_t)units); /* relaxed: a sum */
    }
    hk_store_relaxed(&pool->warm_units, warm); /* relaxed: see pool.h */
    hk_epoch_note(&pool->epoch, warm);
    pool->unneeded_units = (uint32_t)hk_least(pool->unneeded_units, warm);
}

static void link_locked(hk_pool_t *pool, hk_superslab_t *superslab)
{
    hk_assert(2, hk_lock_is_held(&pool->lock));
    hk_superslab_t **list = &pool->by_free[hk_bitrange_sum(superslab->free_units)];
    HK_LIST_PUSH(*list, superslab, next, prev);
}

static void unlink_locked(hk_pool_t *pool, hk_superslab_t *superslab)
{
    hk_assert(2, hk_lock_is_held(&pool->lock));
    if (pool->look_at == superslab) {
        pool->look_at = superslab->next;
    }
    hk_superslab_t **list = &pool->by_free[hk_bitrange_sum(superslab->free_units)];
    HK_LIST_REMOVE(*list, superslab, next, prev);
}

static uint32_t warm_units_of(const hk_superslab_t *superslab)
{
    return (uint32_t)hk_bitrange_sum(superslab->free_units & superslab->dirty_units);
}

void hk_pool_add_locked(hk_pool_t *pool, hk_superslab_t *superslab)
{
    link_locked(pool, superslab);
    pool->superslabs++;
    hk_pool_count_warm_locked(pool, warm_units_of(superslab));
}

void hk_pool_remove_locked(hk_pool_t *pool, hk_superslab_t *superslab)
{
    unlink_locked(pool, superslab);
    pool->superslabs--;
    hk_pool_count_warm_locked(pool, -warm_units_of(superslab));
}

void hk_pool_set_free_locked(hk_pool_t *pool, hk_superslab_t *superslab, uint32_t free_units)
{
    unlink_locked(pool, superslab);
    superslab->free_units = free_units;
    superslab->full_ms = 0;
    link_locked(pool, superslab);
}

void hk_pool_destroy(hk_pool_t *pool)
{
    hk_sub_relaxed(&owned_warm_units, hk_pool_warm_units(pool)); /* relaxed: as above */
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        while (pool->by_free[list] != NULL) {
            hk_superslab_t *superslab = pool->by_free[list];
            pool->by_free[list] = superslab->next;
            pool->purged_units += hk_superslab_free(superslab);
        }
    }
}
