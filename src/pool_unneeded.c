/*
 * pool, empty superslabs that slabs did not need while runs grew.  See pool.h, and convert.h.
 */
#include "pool.h"

#include <string.h>

#include "bitrange.h"

enum {
    LOOKED_AT = 64,      /* empty superslabs, those that were emptied last */
    WARM_UNITS_MIN = 24, /* of one that runs gain something by */
    BEYOND_NEED = 8,     /* superslabs that go besides those that the block needs */
};

static uint32_t warm_units_of(const hk_superslab_t *superslab)
{
    return (uint32_t)hk_bitrange_sum(superslab->dirty_units);
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

/* Empty superslabs that may go. */
typedef struct found {
    hk_superslab_t *lent[LOOKED_AT];
    hk_superslab_t *own[LOOKED_AT]; /* by address */
    unsigned lent_count;
    unsigned own_count;
} found_t;

static void find_locked(const hk_pool_t *pool, found_t *found)
{
    hk_superslab_t *superslab = pool->by_free[HK_SLAB_UNITS_MAX];
    found->lent_count = found->own_count = 0;
    for (unsigned i = 0; superslab != NULL && i < LOOKED_AT; i++, superslab = superslab->next) {
        if (may_go(superslab)) {
            if (superslab->area != NULL) {
                found->lent[found->lent_count++] = superslab;
            } else {
                sort_in(found->own, found->own_count++, superslab);
            }
        }
    }
}

/* How many of the superslabs go, from the first on: at most count, and no more warm units than
 * *budget, which falls by theirs. */
static unsigned fit(hk_superslab_t *const *superslabs, size_t count, size_t *budget)
{
    unsigned fits = 0;
    while (fits < count && warm_units_of(superslabs[fits]) <= *budget) {
        *budget -= warm_units_of(superslabs[fits++]);
    }
    return fits;
}

/* Takes those that serve a block of bytes best. */
static unsigned take_locked(hk_pool_t *pool, size_t bytes, hk_superslab_t **taken)
{
    found_t found;
    unsigned first = 0;
    find_locked(pool, &found);
    size_t budget = pool->unneeded_units;
    size_t need = (bytes + HK_SUPERSLAB_BYTES - 1) >> HK_SUPERSLAB_SHIFT;
    size_t most = hk_least(need + BEYOND_NEED, HK_POOL_UNNEEDED_MAX);
    unsigned lent = need == 1 ? fit(found.lent, hk_least(most, found.lent_count), &budget) : 0;
    memcpy(taken, found.lent, lent * sizeof(hk_superslab_t *));
    unsigned row = find_row(found.own, found.own_count, (unsigned)most - lent, &first);
    row = lent < most ? fit(found.own + first, row, &budget) : 0;
    row = row >= need ? row : 0;
    memcpy(taken + lent, found.own + first, row * sizeof(hk_superslab_t *));
    for (unsigned i = 0; i < lent + row; i++) {
        hk_pool_remove_locked(pool, taken[i]);
    }
    return lent + row;
}

unsigned hk_pool_take_unneeded(hk_pool_t *pool, size_t bytes, hk_superslab_t **taken)
{
    if (!hk_lock_try_acquire(&pool->lock, HK_RANK_POOL)) {
        return 0;
    }
    unsigned count = pool->unneeded_units >= WARM_UNITS_MIN ? take_locked(pool, bytes, taken) : 0;
    pool->unneeded_units = hk_pool_warm_units(pool); /* counts anew */
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    return count;
}

void hk_pool_put_back(hk_pool_t *pool, hk_superslab_t *const *superslabs, unsigned count)
{
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned i = 0; i < count; i++) {
        hk_pool_add_locked(pool, superslabs[i]);
    }
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}
