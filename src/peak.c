/*
 * peak: see peak.h.
 */
#include "peak.h"

#include "allowance.h"
#include "heap_hole.h"
#include "heaps.h"
#include "large.h"
#include "options.h"
#include "os.h"
#include "pace.h"
#include "run.h"

enum { GIVEN_BLOCKS = 4096 }; /* of depots, dissolved at once: about 100 us */

_Atomic size_t hk_peak_bytes;
_Atomic size_t hk_peak_owed[HK_PLACES];

/* Whether most of what is committed was never touched.  Then free memory costs little, and giving
 * it back brings little.  For small processes the system is not asked: some sandboxes kill for the
 * question. */
static bool is_sparse_peak(size_t committed)
{
    return committed >= HK_SPARSE_BYTES_MIN &&
           hk_policy_is_sparse_peak(committed, hk_os_peak_resident_bytes());
}

/* ---- At a peak ---- */

/* What is free in slabs of threads' heaps and is no hole; and which heap has most of it. */
typedef struct candidates {
    hk_heap_t *sparsest;
    size_t bytes;
} candidates_t;

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

/* The context is how many units may go to the pool, and falls by those that do. */
static void release_empties(hk_heap_t *heap, void *context)
{
    size_t *units = context;
    *units = hk_above(*units, hk_heap_release_empties(heap, *units));
}

/* The places of free memory. */
enum { RUNS, SLABS, KEPT };

/* To keep nothing at all means more to runs and slabs, so they keep a byte. */
static size_t give_runs(size_t bytes)
{
    return hk_run_purge(hk_above(hk_run_warm_bytes(), bytes + 1) + 1);
}

static size_t give_slabs(size_t bytes)
{
    return hk_pool_part_purge(hk_above(hk_pool_part_warm_bytes(), bytes + 1) + 1, 1);
}

static size_t give_kept(size_t bytes)
{
    return hk_large_cut_kept(UINT64_MAX, bytes);
}

static struct {
    size_t (*give)(size_t bytes); /* returns how much went */
    hk_pace_t pace;
} places[HK_PLACES] = {
    [RUNS] = {give_runs, {.most = HK_DECAY_STEP_BYTES}},
    [SLABS] = {give_slabs, {.most = HK_DECAY_STEP_BYTES}},
    [KEPT] = {give_kept, {.most = HK_PEAK_KEPT_BYTES}},
};

/* A place as one thread finds it at a peak. */
typedef struct look {
    size_t warm;      /* what is free and resident in it */
    size_t committed; /* what is committed in it */
    size_t most;      /* how much it may give */
    bool grown;       /* the place itself has grown */
} look_t;

/* Slabs have all that is in no other place.  What is in use is read first, so that what comes into
 * use meanwhile is not counted twice. */
static void look_at_all(look_t looks[HK_PLACES])
{
    looks[RUNS].committed = hk_run_used_bytes();
    looks[KEPT].committed = hk_large_used_bytes();
    looks[RUNS].warm = hk_run_warm_bytes();
    looks[KEPT].warm = hk_large_kept_bytes();
    looks[SLABS].warm = hk_pool_part_warm_bytes();
    looks[RUNS].committed += looks[RUNS].warm;
    looks[KEPT].committed += looks[KEPT].warm;
    looks[SLABS].committed =
        hk_above(hk_limit_committed_bytes(), looks[RUNS].committed + looks[KEPT].committed);
    for (unsigned i = 0; i < HK_PLACES; i++) {
        looks[i].most = hk_pace_look(&places[i].pace, looks[i].committed, &looks[i].grown);
    }
}

/* Takes up to so many bytes off what the place owes. */
static size_t take_owed(unsigned place, size_t most)
{
    size_t owed = hk_load_relaxed(&hk_peak_owed[place]); /* relaxed: the CAS tells */
    size_t taken;
    do {
        taken = hk_least(owed, most);
    } while (taken > 0 && !hk_cas_acq_rel(&hk_peak_owed[place], &owed, owed - taken));
    return taken;
}

/* Gives up to so many bytes of what is owed; returns how many.  A place that does not have them any
 * more owes nothing. */
static size_t pay(size_t most)
{
    size_t paid = 0;
    for (unsigned place = 0; place < HK_PLACES && paid < most; place++) {
        size_t taken = take_owed(place, most - paid);
        if (taken > 0) {
            size_t given = places[place].give(taken);
            hk_pace_note(&places[place].pace, given);
            if (given == 0) {
                (void)take_owed(place, SIZE_MAX);
            }
            paid += given;
        }
    }
    return paid;
}

/* The place is to give.  Runs give what is too much, which is often all they have; the others as
 * much as they may. */
static void owe(unsigned place, const look_t *look, size_t surplus)
{
    size_t bytes = place == RUNS ? hk_least(surplus, look->most) : look->most;
    hk_pace_begin(&places[place].pace, look->committed);
    hk_store_relaxed(&hk_peak_owed[place], hk_least(bytes, look->warm)); /* relaxed: as above */
}

/* The place that has most gives.  If it has learnt to give less, the next one gives as well. */
static void owe_of_most(look_t looks[HK_PLACES], size_t surplus)
{
    for (unsigned i = 0; i < HK_PLACES; i++) {
        unsigned fullest = RUNS;
        for (unsigned place = 1; place < HK_PLACES; place++) {
            fullest = looks[place].warm > looks[fullest].warm ? place : fullest;
        }
        if (looks[fullest].warm == 0) {
            return;
        }
        owe(fullest, &looks[fullest], surplus);
        if (looks[fullest].most == places[fullest].pace.most) {
            return;
        }
        looks[fullest].warm = 0;
    }
}

/* How much is too much of the free runs, if they have not grown: then they serve nobody who has.
 * None, once that was in vain three times: the program takes them anew. */
static size_t idle_bytes(const look_t *runs, size_t committed)
{
    bool idle = !runs->grown && runs->most >= places[RUNS].pace.most / 4;
    return idle ? hk_above(runs->warm, hk_policy_warm_beside_bytes(committed)) : 0;
}

static void give_holes(size_t committed)
{
    candidates_t candidates = {0};
    hk_heaps_each_thread_heap(add_candidates, &candidates);
    if (hk_policy_wants_holes_at_peak(committed, candidates.bytes) && !is_sparse_peak(committed)) {
        hk_heap_hole_restart(candidates.sparsest);
        (void)hk_heap_hole_purge(candidates.sparsest, HK_HOLE_STEP_SLABS);
    }
}

/* When a program has turned from some sizes to others, most of what is free lies in one place: in
 * depots and slabs, in runs, or in kept mappings.  That place owes as much as its pace has it; the
 * process comes here again as it grows on.  Empty slabs that heaps keep go to the pool, where all
 * can have them. */
static void look_for_gifts(size_t committed)
{
    size_t allowed = hk_policy_warm_bytes(committed);
    hk_heaps_idle_t idle = hk_heaps_find_idle(NULL, 0);
    if (idle.depot_bytes > allowed / 4) { /* they may keep a block of every slab */
        hk_heap_reclaim(idle.fullest, GIVEN_BLOCKS);
    }
    size_t empty_units = HK_EMPTY_STEP_UNITS;
    hk_heaps_each_thread_heap(release_empties, &empty_units);
    give_holes(committed);
    look_t looks[HK_PLACES];
    look_at_all(looks);
    size_t too_much = hk_above(looks[RUNS].warm + looks[SLABS].warm + looks[KEPT].warm, allowed);
    size_t too_idle = idle_bytes(&looks[RUNS], committed);
    bool too_empty = looks[SLABS].warm > hk_policy_warm_slab_bytes(committed);
    if ((too_much == 0 && too_idle == 0 && !too_empty) || is_sparse_peak(committed)) {
        return;
    }
    if (too_much > 0) {
        owe_of_most(looks, too_much > too_idle ? too_much : too_idle);
    } else if (too_empty) {
        owe(SLABS, &looks[SLABS], SIZE_MAX);
    } else {
        owe(RUNS, &looks[RUNS], too_idle);
    }
}

/* Of threads that find the same peak one looks, unless something is owed still. */
void hk_peak_give(void)
{
    size_t committed = hk_limit_committed_bytes();
    size_t peak = hk_load_relaxed(&hk_peak_bytes); /* relaxed: the CAS tells */
    size_t grown = hk_above(committed, peak);
    if (grown > 0 && !hk_cas_acq_rel(&hk_peak_bytes, &peak, committed)) {
        grown = 0; /* another thread counts it */
    }
    size_t least = 2 * hk_policy_portion_bytes(hk_options.huge, 0);
    size_t most = grown > least ? grown : least;
    size_t paid = pay(most);
    if (grown > HK_PEAK_STEP_BYTES && paid < most && !hk_peak_is_owing()) {
        look_for_gifts(committed);
        (void)pay(most - paid);
    }
}

/* What the peak was before it was lowered.  A mapping that comes and goes mostly untouched is not
 * made way for each time. */
static _Atomic size_t mapped_peak; /* atomic: only rises, but for a race that does no harm */

void hk_peak_settle(void)
{
    size_t peak = hk_load_relaxed(&hk_peak_bytes);
    size_t committed = hk_limit_committed_bytes();
    if (peak <= committed + HK_SPARSE_BYTES_MIN) {
        return; /* nor is the system asked in small processes */
    }
    size_t resident = hk_os_peak_resident_bytes();
    size_t most = resident > committed ? resident : committed;
    if (resident == 0 || most >= peak) {
        return;
    }
    if (peak > hk_load_relaxed(&mapped_peak)) {
        hk_store_relaxed(&mapped_peak, peak);
    }
    (void)hk_cas_acq_rel(&hk_peak_bytes, &peak, most); /* if it fails, another's peak is newer */
}

/* ---- Before a large block ---- */

static hk_allowance_t beside = {.bytes = HK_BESIDE_BYTES_FIRST};
static hk_allowance_t kept_beside = {.bytes = HK_BESIDE_KEPT_MAX};

void hk_peak_start(uint64_t now_ms)
{
    hk_allowance_start(&beside, now_ms);
    hk_allowance_start(&kept_beside, now_ms);
}

/* The bytes, or as many of them as the allowance has now.  Nothing is spent yet. */
static size_t allowed_beside(hk_allowance_t *allowance, size_t bytes, size_t most)
{
    return bytes == 0 ? 0
                      : hk_least(bytes, hk_allowance_now(allowance, hk_os_clock_ms(),
                                                         HK_BESIDE_BYTES_PER_MS, most));
}

/* Before a mapping above what runs hold is made or extended. */
static void make_way_for_mapping(size_t more)
{
    size_t committed = hk_limit_committed_bytes();
    if (more <= HK_RUN_BYTES_MAX || committed + more <= hk_load_relaxed(&hk_peak_bytes) ||
        committed + more <= hk_load_relaxed(&mapped_peak)) { /* relaxed: hints */
        return;
    }
    size_t empty_units = more >> HK_UNIT_SHIFT;
    hk_heaps_each_thread_heap(release_empties, &empty_units);
    size_t warm = hk_pool_part_warm_bytes() + hk_run_warm_bytes();
    if (warm > hk_policy_warm_bytes(committed) && !is_sparse_peak(committed)) {
        size_t given = give_slabs(more);
        if (given < more) {
            (void)give_runs(more - given);
        }
    }
}

/* A block that is large for the process is soon touched, and free memory that it cannot lie in
 * would stay resident besides.  As much of that goes as the block takes anew. */
static void make_way_beside(size_t size, size_t more, size_t reused)
{
    size_t committed = hk_limit_committed_bytes();
    size_t kept = hk_policy_warm_beside_bytes(committed);
    size_t warm = size >= hk_policy_beside_bytes(committed) ? hk_run_warm_bytes() : 0;
    size_t surplus = hk_least(hk_above(warm, kept + reused), more);
    surplus = allowed_beside(&beside, surplus, HK_BESIDE_BYTES_MAX);
    if (surplus > 0 && !is_sparse_peak(committed)) { /* which asks the system */
        hk_allowance_spend(&beside, hk_run_purge(warm - surplus));
    }
}

/* A block that will be a run cannot lie in a kept mapping, so as much of these goes as the block
 * takes anew.  Returns what has gone. */
static size_t make_way_of_kept(size_t more)
{
    size_t surplus = hk_least(hk_large_kept_bytes(), more);
    surplus = allowed_beside(&kept_beside, surplus, HK_BESIDE_KEPT_MAX);
    if (surplus < HK_BESIDE_KEPT_MIN) {
        return 0;
    }
    /* If the answer is that nothing goes, it is spent all the same: the question costs time. */
    bool sparse = is_sparse_peak(hk_limit_committed_bytes());
    size_t gone = sparse ? 0 : hk_large_cut_kept(UINT64_MAX, surplus);
    hk_allowance_spend(&kept_beside, sparse ? surplus : gone);
    return gone;
}

void hk_peak_make_way(size_t size, bool is_run)
{
    if (!is_run) {
        size_t kept = hk_large_kept_bytes(); /* what it lies in is resident already */
        make_way_for_mapping(size);
        make_way_beside(size, hk_above(size, kept), 0);
    } else if (size >= hk_policy_beside_bytes(hk_limit_committed_bytes())) {
        size_t reused = hk_run_reused_bytes(size);
        size_t more = hk_above(size, reused);
        size_t gone = make_way_of_kept(more); /* whole pages: it may be more */
        make_way_beside(size, hk_above(more, gone), reused);
    }
}

void hk_peak_make_way_growing(size_t size, size_t more)
{
    make_way_for_mapping(more);
    make_way_beside(size, more, 0);
}
