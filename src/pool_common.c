/*
 * pool, common part: the lists of superslabs, and the end of a pool.  See pool.h.
 */
#include "bitrange.h"
#include "log.h"
#include "pool.h"

hk_pool_t hk_shared_pool;

void hk_pool_link_locked(hk_pool_t *pool, hk_superslab_t *superslab)
{
    hk_assert(2, hk_lock_is_held(&pool->lock));
    hk_superslab_t **list = &pool->by_free[hk_bitrange_sum(superslab->free_units)];
    superslab->prev = NULL;
    superslab->next = *list;
    if (*list != NULL) {
        (*list)->prev = superslab;
    }
    *list = superslab;
}

void hk_pool_unlink_locked(hk_pool_t *pool, hk_superslab_t *superslab)
{
    hk_assert(2, hk_lock_is_held(&pool->lock));
    if (pool->look_at == superslab) {
        pool->look_at = superslab->next;
    }
    if (superslab->prev != NULL) {
        superslab->prev->next = superslab->next;
    } else {
        pool->by_free[hk_bitrange_sum(superslab->free_units)] = superslab->next;
    }
    if (superslab->next != NULL) {
        superslab->next->prev = superslab->prev;
    }
}

void hk_pool_set_free_locked(hk_pool_t *pool, hk_superslab_t *superslab, uint32_t free_units)
{
    hk_pool_unlink_locked(pool, superslab);
    superslab->free_units = free_units;
    superslab->full_ms = 0;
    hk_pool_link_locked(pool, superslab);
}

/* Adds what the pool counted to the shared pool's figures, so that it stays counted. */
static void bequeath(const hk_pool_t *pool)
{
    hk_lock_acquire(&hk_shared_pool.lock, HK_RANK_POOL);
    hk_shared_pool.purged_units += pool->purged_units;
    for (unsigned stage = 0; stage < HK_STAGE_COUNT; stage++) {
        hk_shared_pool.acquires[stage] += pool->acquires[stage];
    }
    hk_lock_release(&hk_shared_pool.lock, HK_RANK_POOL);
}

void hk_pool_destroy(hk_pool_t *pool)
{
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        while (pool->by_free[list] != NULL) {
            hk_superslab_t *superslab = pool->by_free[list];
            pool->by_free[list] = superslab->next;
            pool->purged_units += hk_bitrange_sum(superslab->dirty_units);
            hk_superslab_free(superslab);
        }
    }
    bequeath(pool);
}
