/*
 * pool, acquiring: stages 1 to 3.  See pool.h.
 */
#include "bitrange.h"
#include "limit.h"
#include "log.h"
#include "pool.h"

/* A list is searched this far for a run of free units; a new superslab is better than a longer
 * search. */
enum { SEARCH_DEPTH = 8 };

/* The lowest unit of a run of units in the mask, or -1. */
static int find_run(uint32_t mask, unsigned units)
{
    /* Keeps the bits that start a run of `done`, and grows it. */
    for (unsigned done = 1; done < units;) {
        unsigned step = done < units - done ? done : units - done;
        mask &= mask >> step;
        done += step;
    }
    return mask == 0 ? -1 : __builtin_ctz(mask);
}

/* Finds a run of free units, the fullest superslab first; if warm is set, only among dirty
 * units. */
static hk_superslab_t *find_superslab(hk_pool_t *pool, unsigned units, bool warm, int *first)
{
    for (unsigned list = units; list <= HK_SLAB_UNITS_MAX; list++) {
        hk_superslab_t *superslab = pool->by_free[list];
        for (int depth = 0; superslab != NULL && depth < SEARCH_DEPTH; depth++) {
            uint32_t mask = superslab->free_units & (warm ? superslab->dirty_units : UINT32_MAX);
            *first = find_run(mask, units);
            if (*first >= 0) {
                return superslab;
            }
            superslab = superslab->next;
        }
    }
    return NULL;
}

/* Takes the units out of the superslab and makes them one slab; NULL if the limit does not allow
 * those of them that are not committed yet. */
static hk_slab_t *take_units(hk_pool_t *pool, hk_superslab_t *superslab, unsigned first,
                             unsigned units, struct hk_heap *heap, uint8_t class_index)
{
    uint32_t mask = hk_pool_mask(first, units);
    hk_slab_t *slab = &superslab->slabs[first];
    hk_assert(2, (superslab->free_units & mask) == mask);
    if (!hk_limit_charge(HK_UNIT_BYTES * hk_bitrange_sum(mask & ~superslab->dirty_units))) {
        return NULL;
    }
    slab->fresh = (superslab->dirty_units & mask) == 0;
    hk_pool_count_warm_locked(pool, -(uint32_t)hk_bitrange_sum(superslab->dirty_units & mask));
    pool->used_units += units;
    hk_pool_set_free_locked(pool, superslab, superslab->free_units & ~mask);
    superslab->dirty_units |= mask;
    for (unsigned unit = first; unit < first + units; unit++) {
        superslab->slab_of[unit] = (uint8_t)first;
    }
    slab->heap = heap;
    slab->bitmap = hk_superslab_bitmap(superslab, first, class_index);
    slab->class_index = class_index;
    slab->units = (uint8_t)units;
    return slab;
}

hk_slab_t *hk_pool_take_locked(hk_pool_t *pool, struct hk_heap *heap, unsigned units,
                               uint8_t class_index, hk_stage_t last)
{
    int first = -1;
    hk_stage_t stage = HK_STAGE_WARM;
    hk_superslab_t *superslab = NULL;
    if (hk_pool_warm_units(pool) >= units) {
        superslab = find_superslab(pool, units, true, &first);
    }
    if (superslab == NULL && last >= HK_STAGE_UNUSED) {
        stage = HK_STAGE_UNUSED;
        superslab = find_superslab(pool, units, false, &first);
    }
    if (superslab == NULL) {
        return NULL;
    }
    hk_slab_t *slab = take_units(pool, superslab, (unsigned)first, units, heap, class_index);
    pool->acquires[stage] += slab != NULL;
    return slab;
}

/* By stage 3. */
static hk_slab_t *take_new(hk_pool_t *pool, struct hk_heap *heap, unsigned units,
                           uint8_t class_index)
{
    hk_origin_t origin = pool->owned ? HK_ORIGIN_SYSTEM : HK_ORIGIN_ANY;
    hk_superslab_t *superslab = hk_superslab_allocate(pool, (size_t)units << HK_UNIT_SHIFT, origin);
    if (superslab == NULL) {
        return NULL;
    }
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    hk_pool_add_locked(pool, superslab);
    int warm = find_run(superslab->free_units & superslab->dirty_units, units);
    unsigned first = warm >= 0 ? (unsigned)warm : 1;
    hk_slab_t *slab = take_units(pool, superslab, first, units, heap, class_index);
    pool->acquires[HK_STAGE_NEW] += slab != NULL;
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    return slab;
}

static hk_slab_t *take(hk_pool_t *pool, struct hk_heap *heap, unsigned units, uint8_t class_index,
                       hk_stage_t last)
{
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    hk_slab_t *slab = hk_pool_take_locked(pool, heap, units, class_index, last);
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    return slab;
}

hk_slab_t *hk_pool_acquire(hk_pool_t *pool, struct hk_heap *heap, unsigned units,
                           uint8_t class_index)
{
    hk_slab_t *slab = take(pool, heap, units, class_index, HK_STAGE_UNUSED);
    return slab != NULL ? slab : take_new(pool, heap, units, class_index);
}

hk_slab_t *hk_pool_acquire_warm(hk_pool_t *pool, struct hk_heap *heap, unsigned units,
                                uint8_t class_index)
{
    return take(pool, heap, units, class_index, HK_STAGE_WARM);
}
