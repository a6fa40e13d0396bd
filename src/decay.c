/*
 * decay: see decay.h.
 */
#include "decay.h"

#include "large.h"
#include "run.h"

/* What lies in the depots of threads' heaps, and which other one than mine has most. */
typedef struct depots {
    const hk_heap_t *mine;
    hk_heap_t *fullest;
    size_t bytes;
} depots_t;

static void add_depots(hk_heap_t *heap, void *context)
{
    depots_t *depots = context;
    size_t bytes = hk_heap_depot_bytes(heap);
    depots->bytes += bytes;
    if (heap != depots->mine &&
        (depots->fullest == NULL || bytes > hk_heap_depot_bytes(depots->fullest))) {
        depots->fullest = heap;
    }
}

size_t hk_decay_step(const hk_heap_t *mine, uint64_t now_ms)
{
    depots_t depots = {.mine = mine};
    hk_heaps_each_shared(add_depots, &depots);
    if (depots.fullest != NULL) {
        (void)hk_heap_decay(depots.fullest, now_ms);
    }
    hk_heap_t *other = hk_heaps_next_other(mine); /* for what lies in its inbox */
    if (other != NULL && other != depots.fullest) {
        (void)hk_heap_decay(other, now_ms);
    }
    if (now_ms > HK_LARGE_KEEP_MS) {
        (void)hk_large_decay(now_ms - HK_LARGE_KEEP_MS);
    }
    return depots.bytes + hk_large_kept_bytes() + hk_pool_maintain(&hk_shared_pool, now_ms) +
           hk_run_maintain(now_ms);
}
