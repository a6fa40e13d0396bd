/*
 * decay: see decay.h.
 */
#include "decay.h"

#include "allowance.h"
#include "heap_hole.h"
#include "large.h"
#include "limit.h"
#include "options.h"
#include "run.h"

static hk_allowance_t at_end;

/* A step for one heap. */
static void decay_heap(hk_heap_t *heap, uint64_t now_ms)
{
    (void)hk_heap_decay(heap, now_ms);
    (void)hk_heap_hole_purge(heap, HK_HOLE_STEP_SLABS);
}

/* Of the mappings that were freed a while ago; *left falls by what goes. */
static void give_kept(uint64_t now_ms, size_t *left)
{
    uint64_t keep_ms = HK_LARGE_KEEP_EPOCHS * hk_options.decay;
    size_t given = 1;
    while (now_ms > keep_ms && *left > 0 && given > 0) {
        given = hk_large_cut_kept(now_ms - keep_ms, *left);
        *left = hk_above(*left, given);
    }
}

size_t hk_decay_give(uint64_t now_ms, size_t *left)
{
    give_kept(now_ms, left);
    size_t bytes = hk_large_kept_bytes();
    bytes += hk_pool_part_maintain(now_ms, left);
    bytes += hk_run_maintain(now_ms, left);
    return bytes;
}

/* places: what may go of the pool, of runs and of kept mappings. */
static hk_excess_t add_up(const hk_heap_t *mine, const hk_heaps_idle_t *idle, size_t places)
{
    size_t sparse = mine != NULL ? hk_heap_sparse_bytes(mine) : 0;
    return (hk_excess_t){sparse + idle->depot_bytes + idle->empty_bytes + places, sparse,
                         idle->other_bytes, idle->busy_bytes, idle->busy_idle_bytes};
}

hk_excess_t hk_decay_step(hk_heap_t *mine, uint64_t now_ms, size_t *left)
{
    if (mine != NULL) {
        decay_heap(mine, now_ms);
    }
    hk_heaps_idle_t idle = hk_heaps_find_idle(mine, now_ms);
    if (idle.fullest != NULL) {
        decay_heap(idle.fullest, now_ms);
    }
    hk_heap_t *other = hk_heaps_next_other(mine); /* for what lies in its inbox */
    if (other != NULL && other != idle.fullest) {
        decay_heap(other, now_ms);
    }
    return add_up(mine, &idle, hk_decay_give(now_ms, left));
}

static bool is_parked(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->threads) == 0; /* relaxed: a hint */
}

static void add_parked(hk_heap_t *heap, void *context)
{
    size_t *bytes = context;
    if (is_parked(heap)) {
        *bytes += hk_heap_depot_bytes(heap) + hk_heap_hole_candidate_bytes(heap);
    }
}

static void reclaim_parked(hk_heap_t *heap, void *context)
{
    (void)context;
    if (is_parked(heap)) {
        hk_heap_reclaim(heap, SIZE_MAX);
    }
}

/* What is free and resident in the pool, in runs and in kept mappings. */
static size_t free_in_places(void)
{
    return hk_pool_part_warm_bytes() + hk_run_warm_bytes() + hk_large_kept_bytes();
}

hk_excess_t hk_decay_excess(const hk_heap_t *mine, uint64_t now_ms)
{
    hk_heaps_idle_t idle = hk_heaps_find_idle(mine, now_ms);
    return add_up(mine, &idle, free_in_places());
}

void hk_decay_start(uint64_t now_ms)
{
    hk_allowance_start(&at_end, now_ms);
}

/* Gives back about so many bytes of what is free and resident. */
static void give_back(size_t bytes)
{
    size_t given = bytes >= hk_large_kept_bytes() ? hk_large_drain() : 0;
    size_t runs = hk_run_warm_bytes();
    given += given < bytes ? hk_run_purge(runs - hk_least(runs, bytes - given)) : 0;
    size_t slabs = hk_pool_part_warm_bytes();
    size_t keep = given < bytes ? slabs - hk_least(slabs, bytes - given) : slabs;
    if (keep < slabs) {
        (void)hk_pool_part_purge(keep, 1);
    }
}

/* Parked heaps are drained too: what lies in their inboxes keeps slabs in use, and nobody else
 * might look there for a long time. */
static void give_back_parked(uint64_t now_ms)
{
    size_t parked = 0;
    hk_heaps_each_thread_heap(add_parked, &parked);
    size_t most = hk_allowance_now(&at_end, now_ms, HK_END_BYTES_PER_MS, SIZE_MAX / 2);
    if (most < HK_END_BYTES || parked + free_in_places() < HK_END_BYTES) {
        return;
    }
    hk_heaps_each_thread_heap(reclaim_parked, NULL);
    size_t free_bytes = free_in_places();
    size_t keep = hk_policy_end_keep_bytes(hk_limit_committed_bytes(), free_bytes);
    give_back(hk_least(free_bytes - keep, most));
    /* relaxed: a hint; what is left of the allowance is not kept for later */
    hk_store_relaxed(&at_end.bytes, 0);
}

void hk_decay_at_end(uint64_t now_ms, bool is_last)
{
    if (is_last) {
        give_back_parked(now_ms);
    }
    size_t left = HK_DECAY_STEP_BYTES;
    (void)hk_pool_part_maintain(now_ms, &left);
}
