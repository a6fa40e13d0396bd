/*
 * pool, empty superslabs that slabs did not need while runs grew.  See pool.h, and convert.h.
 */
#include "bitrange.h"
#include "pool.h"

enum {
    LOOKED_AT = 64,      /* empty superslabs, those that were emptied last */
    WARM_UNITS_MIN = 24, /* of one that runs gain something by */
    ROW_MIN = 2,         /* each area has a descriptor */
    BEYOND_NEED = 8,     /* superslabs that go besides those that the block needs */
};

static uint32_t warm_units_of(const hk_superslab_t *superslab)
{
    return (uint32_t)hk_bitrange_sum(superslab->dirty_units);
}

static void take_out_locked(hk_pool_t *pool, hk_superslab_t *superslab)
{
    hk_pool_unlink_locked(pool, superslab);
    hk_pool_count_warm_locked(pool, -warm_units_of(superslab));
    pool->superslabs--;
}

static bool may_go(const hk_superslab_t *superslab)
{
    return !superslab->pinned && !superslab->huge && warm_units_of(superslab) >= WARM_UNITS_MIN;
}

/* Sorts the superslab in, among those found so far. */
static void sort_in(hk_superslab_t **found, unsigned count, hk_superslab_t *superslab)
{
    for (; count > 0 && found[count - 1]->base > superslab->base; count--) {
        found[count] = found[count - 1];
    }
    found[count] = superslab;
}

/* How many of the sorted superslabs lie side by side from the first on, at most so many. */
static unsigned count_row(hk_superslab_t *const *sorted, unsigned count, unsigned most)
{
    unsigned row = 1;
    while (row < count && row < most &&
           sorted[row]->base == sorted[row - 1]->base + HK_SUPERSLAB_BYTES) {
        row++;
    }
    return row;
}

/* The longest row; *first is where it begins. */
static unsigned find_row(hk_superslab_t *const *sorted, unsigned count, unsigned most,
                         unsigned *first)
{
    unsigned longest = 0;
    for (unsigned i = 0, row; i < count; i += row) {
        row = count_row(sorted + i, count - i, most);
        if (row > longest) {
            longest = row;
            *first = i;
        }
    }
    return longest;
}

/* Takes the lent ones out, and sorts the others. */
static unsigned take_lent_locked(hk_pool_t *pool, bool lent_too, unsigned most,
                                 hk_superslab_t **taken, hk_superslab_t **own, unsigned *own_count)
{
    unsigned count = 0;
    hk_superslab_t *next = pool->by_free[HK_SLAB_UNITS_MAX];
    for (unsigned i = 0; next != NULL && i < LOOKED_AT && count < most; i++) {
        hk_superslab_t *superslab = next;
        next = superslab->next;
        if (!may_go(superslab)) {
            continue;
        }
        if (superslab->area == NULL) {
            sort_in(own, (*own_count)++, superslab);
        } else if (lent_too) {
            take_out_locked(pool, superslab);
            taken[count++] = superslab;
        }
    }
    return count;
}

unsigned hk_pool_take_unneeded(hk_pool_t *pool, size_t bytes, hk_superslab_t **taken)
{
    hk_superslab_t *own[LOOKED_AT];
    unsigned own_count = 0;
    unsigned first = 0;
    if (!hk_lock_try_acquire(&pool->lock, HK_RANK_POOL)) {
        return 0;
    }
    size_t need = (bytes + HK_SUPERSLAB_BYTES - 1) >> HK_SUPERSLAB_SHIFT;
    size_t unneeded = pool->unneeded_units / HK_SLAB_UNITS_MAX;
    unsigned most = (unsigned)hk_least(hk_least(need + BEYOND_NEED, HK_UNNEEDED_MAX), unneeded);
    unsigned count = take_lent_locked(pool, need == 1, most, taken, own, &own_count);
    unsigned row = find_row(own, own_count, most - count, &first);
    bool fits = row >= ROW_MIN && row >= need;
    for (unsigned i = 0; fits && i < row; i++) {
        take_out_locked(pool, own[first + i]);
        taken[count++] = own[first + i];
    }
    pool->unneeded_units = hk_pool_warm_units(pool); /* counts anew */
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    return count;
}

void hk_pool_put_back(hk_pool_t *pool, hk_superslab_t *const *superslabs, unsigned count)
{
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned i = 0; i < count; i++) {
        hk_pool_link_locked(pool, superslabs[i]);
        hk_pool_count_warm_locked(pool, warm_units_of(superslabs[i]));
        pool->superslabs++;
    }
    pool->unneeded_units = hk_pool_warm_units(pool); /* they are as unneeded as before */
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}
