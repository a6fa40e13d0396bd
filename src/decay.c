/*
 * decay: see decay.h.
 */
#include "decay.h"

#include "heap_hole.h"
#include "large.h"
#include "os.h"
#include "run.h"

enum {
    PEAK_BLOCKS = 4096, /* of depots, dissolved at a peak: about 100 us */
    HOLE_SLABS = 12,    /* looked through for holes in one step: about 100 us too */
};

_Atomic size_t hk_decay_peak_bytes;

/* What lies in the depots of threads' heaps and in the empty slabs that they keep; and which heap,
 * other than mine, has most of both together. */
typedef struct depots {
    const hk_heap_t *mine;
    hk_heap_t *fullest;
    size_t bytes;
    size_t empty_bytes;
} depots_t;

/* What is free in slabs of threads' heaps and is no hole; and which heap has most of it. */
typedef struct candidates {
    hk_heap_t *sparsest;
    size_t bytes;
} candidates_t;

static size_t idle_bytes(const hk_heap_t *heap)
{
    return hk_heap_depot_bytes(heap) + hk_heap_empty_units(heap) * HK_UNIT_BYTES;
}

static void add_depots(hk_heap_t *heap, void *context)
{
    depots_t *depots = context;
    depots->bytes += hk_heap_depot_bytes(heap);
    depots->empty_bytes += hk_heap_empty_units(heap) * HK_UNIT_BYTES;
    if (heap != depots->mine &&
        (depots->fullest == NULL || idle_bytes(heap) > idle_bytes(depots->fullest))) {
        depots->fullest = heap;
    }
}

static void add_candidates(hk_heap_t *heap, void *context)
{
    candidates_t *candidates = context;
    size_t bytes = hk_heap_hole_candidate_bytes(heap);
    candidates->bytes += bytes;
    if (candidates->sparsest == NULL ||
        bytes > hk_heap_hole_candidate_bytes(candidates->sparsest)) {
        candidates->sparsest = heap;
    }
}

/* What may still go back of a heap's slabs if they are sparse: their holes have gone already. */
static size_t sparse_bytes(const hk_heap_t *heap)
{
    size_t holes = hk_load_relaxed(&heap->hole_bytes); /* relaxed: a hint */
    size_t bytes =
        hk_policy_sparse_bytes(hk_heap_units(heap) * HK_UNIT_BYTES, hk_heap_free_bytes(heap));
    return bytes > holes ? bytes - holes : 0;
}

/* A step for one heap. */
static void decay_heap(hk_heap_t *heap, uint64_t now_ms)
{
    (void)hk_heap_decay(heap, now_ms);
    (void)hk_heap_hole_purge(heap, HOLE_SLABS);
}

size_t hk_decay_step(hk_heap_t *mine, uint64_t now_ms)
{
    depots_t depots = {.mine = mine};
    if (mine != NULL) {
        decay_heap(mine, now_ms);
    }
    hk_heaps_each_thread_heap(add_depots, &depots);
    if (depots.fullest != NULL) {
        decay_heap(depots.fullest, now_ms);
    }
    hk_heap_t *other = hk_heaps_next_other(mine); /* for what lies in its inbox */
    if (other != NULL && other != depots.fullest) {
        decay_heap(other, now_ms);
    }
    if (now_ms > HK_LARGE_KEEP_MS) {
        (void)hk_large_decay(now_ms - HK_LARGE_KEEP_MS);
    }
    size_t sparse = mine != NULL ? sparse_bytes(mine) : 0;
    return sparse + depots.bytes + depots.empty_bytes + hk_large_kept_bytes() +
           hk_pool_part_maintain(now_ms) + hk_run_maintain(now_ms);
}

/* Whether most of what is committed was never touched.  Then free memory costs little, and giving
 * it back brings little.  For small processes the system is not asked: some sandboxes kill for the
 * question. */
static bool is_sparse_peak(size_t committed)
{
    return committed >= HK_SPARSE_BYTES_MIN &&
           hk_policy_is_sparse_peak(committed, hk_os_peak_resident_bytes());
}

/* What a place that has so many bytes keeps, when so much is too much: at most a step's worth
 * goes. */
static size_t peak_keep_bytes(size_t bytes, size_t surplus)
{
    size_t gone = surplus < HK_DECAY_STEP_BYTES ? surplus : HK_DECAY_STEP_BYTES;
    return bytes > gone ? bytes - gone : 0;
}

static void release_empties(hk_heap_t *heap, void *context)
{
    (void)context;
    hk_heap_release_empties(heap);
}

/* The empty slabs that heaps keep go to the pool, where all can have them.  When a program has
 * turned from some sizes to others, most of what is free lies in one place: in depots and slabs, in
 * runs, or in kept mappings.  That place gives; slabs and runs at most a step's worth, as the
 * process comes here again while it grows on, and kept mappings all. */
void hk_decay_at_peak(void)
{
    size_t committed = hk_limit_committed_bytes();
    size_t allowed = hk_policy_warm_bytes(committed);
    depots_t depots = {0};
    hk_store_relaxed(&hk_decay_peak_bytes, committed); /* relaxed: a hint */
    hk_heaps_each_thread_heap(add_depots, &depots);
    if (depots.bytes > allowed / 4) { /* they may keep a block of every slab */
        hk_heap_reclaim(depots.fullest, PEAK_BLOCKS);
    }
    hk_heaps_each_thread_heap(release_empties, NULL);
    size_t slabs = hk_pool_part_warm_bytes();
    size_t runs = hk_run_warm_bytes();
    size_t kept = hk_large_kept_bytes();
    candidates_t candidates = {0};
    hk_heaps_each_thread_heap(add_candidates, &candidates);
    bool too_sparse = hk_policy_wants_holes(committed, candidates.bytes, 0);
    bool too_much = slabs + runs + kept > allowed;
    bool too_empty = slabs > hk_policy_warm_slab_bytes(committed);
    if ((!too_sparse && !too_much && !too_empty) || is_sparse_peak(committed)) {
        return;
    }
    if (too_sparse) {
        hk_heap_hole_restart(candidates.sparsest);
        (void)hk_heap_hole_purge(candidates.sparsest, HOLE_SLABS);
    }
    if (too_much && kept > slabs && kept > runs) {
        (void)hk_large_decay(UINT64_MAX);
    } else if (too_much && runs >= slabs) {
        (void)hk_run_purge(peak_keep_bytes(runs, slabs + runs + kept - allowed));
    } else if (too_much || too_empty) {
        size_t keep = slabs > HK_DECAY_STEP_BYTES ? slabs - HK_DECAY_STEP_BYTES : 0;
        (void)hk_pool_part_purge(keep, 1);
    }
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

/* How much may be given back where the program may soon want it again; it grows with time.  atomic:
 * these are hints; two threads at once may count some ms twice, or lose them. */
typedef struct allowance {
    _Atomic uint64_t at_ms;
    _Atomic size_t bytes;
} allowance_t;

static allowance_t at_end;
static allowance_t beside = {.bytes = HK_BESIDE_BYTES_FIRST};
static allowance_t kept_beside = {.bytes = HK_BESIDE_KEPT_MAX};

void hk_decay_start(uint64_t now_ms)
{
    hk_store_relaxed(&at_end.at_ms, now_ms);
    hk_store_relaxed(&beside.at_ms, now_ms);
    hk_store_relaxed(&kept_beside.at_ms, now_ms);
}

static size_t allowance_now(allowance_t *allowance, uint64_t now_ms, size_t bytes_per_ms,
                            size_t most)
{
    uint64_t before = hk_load_relaxed(&allowance->at_ms); /* relaxed: hints */
    uint64_t ms = now_ms > before ? now_ms - before : 0;
    size_t bytes = hk_load_relaxed(&allowance->bytes) + (size_t)ms * bytes_per_ms;
    bytes = bytes < most ? bytes : most;
    hk_store_relaxed(&allowance->at_ms, now_ms);
    hk_store_relaxed(&allowance->bytes, bytes);
    return bytes;
}

static void spend(allowance_t *allowance, size_t bytes)
{
    size_t left = hk_load_relaxed(&allowance->bytes); /* relaxed: hints */
    hk_store_relaxed(&allowance->bytes, left > bytes ? left - bytes : 0);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The bytes, or as many of them as the allowance has now.  Nothing is spent yet. */
static size_t allowed_beside(allowance_t *allowance, size_t bytes, size_t most)
{
    return bytes == 0 ? 0
                      : least(bytes, allowance_now(allowance, hk_os_clock_ms(),
                                                   HK_BESIDE_BYTES_PER_MS, most));
}

/* Gives back about so many bytes of what is free and resident. */
static void give_back(size_t bytes)
{
    size_t given = bytes >= hk_large_kept_bytes() ? hk_large_decay(UINT64_MAX) : 0;
    size_t runs = hk_run_warm_bytes();
    given += given < bytes ? hk_run_purge(runs - least(runs, bytes - given)) : 0;
    size_t slabs = hk_pool_part_warm_bytes();
    size_t keep = given < bytes ? slabs - least(slabs, bytes - given) : slabs;
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
    size_t most = allowance_now(&at_end, now_ms, HK_END_BYTES_PER_MS, SIZE_MAX / 2);
    if (most < HK_END_BYTES || parked + free_in_places() < HK_END_BYTES) {
        return;
    }
    hk_heaps_each_thread_heap(reclaim_parked, NULL);
    size_t free_bytes = free_in_places();
    size_t keep = hk_policy_end_keep_bytes(hk_limit_committed_bytes(), free_bytes);
    give_back(least(free_bytes - keep, most));
    /* relaxed: a hint; what is left of the allowance is not kept for later */
    hk_store_relaxed(&at_end.bytes, 0);
}

void hk_decay_at_end(uint64_t now_ms, bool is_last)
{
    if (is_last) {
        give_back_parked(now_ms);
    }
    (void)hk_pool_part_maintain(now_ms);
}

/* Before a mapping above what runs hold is made or extended. */
static void make_way_for_mapping(size_t more)
{
    size_t committed = hk_limit_committed_bytes();
    if (more <= HK_RUN_BYTES_MAX || committed + more <= hk_decay_peak()) {
        return;
    }
    hk_heaps_each_thread_heap(release_empties, NULL);
    size_t warm = hk_pool_part_warm_bytes() + hk_run_warm_bytes();
    if (warm > hk_policy_warm_bytes(committed) && !is_sparse_peak(committed)) {
        (void)hk_pool_part_purge(0, 0);
        (void)hk_run_purge(0);
    }
}

/* A block that is large for the process is soon touched, and free memory that it cannot lie in
 * would stay resident besides.  As much of that goes as the block takes anew. */
static void make_way_beside(size_t size, size_t more, size_t reused)
{
    size_t committed = hk_limit_committed_bytes();
    size_t kept = hk_policy_warm_beside_bytes(committed);
    size_t warm = size >= hk_policy_beside_bytes(committed) ? hk_run_warm_bytes() : 0;
    size_t surplus = least(warm > kept + reused ? warm - kept - reused : 0, more);
    surplus = allowed_beside(&beside, surplus, HK_BESIDE_BYTES_MAX);
    if (surplus > 0 && !is_sparse_peak(committed)) { /* which asks the system */
        spend(&beside, hk_run_purge(peak_keep_bytes(warm, surplus)));
    }
}

/* A block that will be a run cannot lie in a kept mapping, so as much of these goes as the block
 * takes anew.  Returns what has gone. */
static size_t make_way_of_kept(size_t more)
{
    size_t surplus = least(hk_large_kept_bytes(), more);
    surplus = allowed_beside(&kept_beside, surplus, HK_BESIDE_KEPT_MAX);
    if (surplus < HK_BESIDE_KEPT_MIN) {
        return 0;
    }
    /* If the answer is that nothing goes, it is spent all the same: the question costs time. */
    bool sparse = is_sparse_peak(hk_limit_committed_bytes());
    size_t gone = sparse ? 0 : hk_large_cut_kept(surplus);
    spend(&kept_beside, sparse ? surplus : gone);
    return gone;
}

void hk_decay_make_way(size_t size)
{
    if (size > HK_RUN_BYTES_MAX) {
        size_t kept = hk_large_kept_bytes(); /* what it lies in is resident already */
        make_way_for_mapping(size);
        make_way_beside(size, size > kept ? size - kept : 0, 0);
    } else if (size >= hk_policy_beside_bytes(hk_limit_committed_bytes())) {
        size_t reused = hk_run_reused_bytes(size);
        size_t more = size > reused ? size - reused : 0;
        size_t gone = make_way_of_kept(more); /* whole pages: it may be more */
        make_way_beside(size, more > gone ? more - gone : 0, reused);
    }
}

void hk_decay_make_way_growing(size_t size, size_t more)
{
    make_way_for_mapping(more);
    make_way_beside(size, more, 0);
}
