/*
 * pool, dense superslabs: those that have been full of live blocks for a while are asked to be of
 * huge pages.  The system's own thread makes them so, if its setting allows it; nothing waits for
 * that here.  See pool.h.
 */
#include "log.h"
#include "options.h"
#include "policy.h"
#include "pool.h"

enum { LOOKS = 16 }; /* superslabs passed over in one go */

/* The bytes of live blocks that are small enough to have been written to.  0 if a unit is in no
 * slab, because it is on its way to the system; and for first-class heaps, which note no live
 * blocks. */
static size_t live_bytes(const hk_superslab_t *superslab)
{
    size_t bytes = 0;
    for (unsigned unit = 1; unit < HK_SUPERSLAB_UNITS; unit += superslab->slabs[unit].units) {
        const hk_slab_t *slab = &superslab->slabs[unit];
        if (slab->units == 0) {
            return 0;
        }
        size_t block_bytes = hk_class_info[slab->class_index].block_bytes;
        if (block_bytes <= HK_DENSE_BLOCK_BYTES) {
            bytes += block_bytes * hk_live_count_units(hk_slab_base(slab), slab->units);
        }
    }
    return bytes;
}

/* Goes on where the last look ended, until it finds a superslab that has been full for long enough,
 * or has passed over LOOKS of them. */
static hk_superslab_t *find_old_locked(hk_pool_t *pool, uint64_t now_ms)
{
    hk_superslab_t *next = pool->look_at != NULL ? pool->look_at : pool->by_free[0];
    hk_superslab_t *found = NULL;
    for (int looks = 0; next != NULL && found == NULL && looks < LOOKS; looks++) {
        hk_superslab_t *superslab = next;
        next = superslab->next;
        if (superslab->full_ms == 0) {
            superslab->full_ms = now_ms;
        } else if (!superslab->huge && !superslab->pinned &&
                   hk_ms_since(superslab->full_ms, now_ms) >= HK_DENSE_MS) {
            found = superslab;
        }
    }
    pool->look_at = next;
    return found;
}

/* In each HK_DENSE_LOOK_MS at most one superslab's bits are counted under the lock, which takes
 * about 10 us. */
hk_superslab_t *hk_pool_find_dense_locked(hk_pool_t *pool, uint64_t now_ms)
{
    hk_assert(2, hk_lock_is_held(&pool->lock));
    if (hk_ms_since(pool->look_ms, now_ms) < HK_DENSE_LOOK_MS ||
        hk_superslab_huge_refusals() != 0 ||
        !hk_policy_wants_dense(hk_options.huge, hk_superslab_count(),
                               hk_superslab_advised_count())) {
        return NULL;
    }
    pool->look_ms = now_ms;
    hk_superslab_t *superslab = find_old_locked(pool, now_ms);
    if (superslab != NULL && !hk_policy_is_dense(live_bytes(superslab))) {
        superslab->full_ms = now_ms; /* looked at again when as much time has passed */
        return NULL;
    }
    if (superslab != NULL) {
        superslab->pinned = true;
    }
    return superslab;
}

void hk_pool_make_huge(hk_pool_t *pool, hk_superslab_t *superslab)
{
    bool granted = hk_superslab_ask_huge(superslab);
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    if (granted) {
        hk_superslab_mark_huge(superslab);
    }
    superslab->pinned = false;
    superslab->full_ms = 0;
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}
