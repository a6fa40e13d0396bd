/*
 * convert: see convert.h.
 */
#include "convert.h"

#include "lend.h"
#include "pool_part.h"

static_assert((size_t)HK_POOL_UNNEEDED_MAX << HK_SUPERSLAB_SHIFT <= HK_RUN_AREA_BYTES_MAX,
              "what one pool gives is at most an area");

static bool convert_of(hk_pool_t *pool, hk_runs_t *part, size_t bytes)
{
    hk_superslab_t *taken[HK_POOL_UNNEEDED_MAX];
    unsigned count = hk_pool_take_unneeded(pool, bytes, taken);
    unsigned lent = 0;
    for (; lent < count && taken[lent]->area != NULL; lent++) {
        hk_superslab_give_back(taken[lent]);
    }
    if (lent < count && !hk_superslab_make_area(taken + lent, count - lent, part)) {
        hk_pool_put_back(pool, taken + lent, count - lent);
        return lent > 0;
    }
    return count > 0;
}

bool hk_convert_to_runs(hk_runs_t *part, size_t bytes)
{
    bool any = false;
    hk_pool_t *pool = hk_lend_is_possible() ? hk_pool_part_next(NULL) : NULL;
    for (; !any && pool != NULL; pool = hk_pool_part_next(pool)) {
        any = hk_pool_warm_bytes(pool) >= bytes && convert_of(pool, part, bytes);
    }
    return any;
}
