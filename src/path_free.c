/*
 * path, freeing: the slow paths of free.  See path.h and path_free.h.
 */
#include "path_free.h"

#include "guard.h"
#include "log.h"
#include "nothing.h"
#include "options.h"
#include "os.h"
#include "refuge.h"
#include "reject.h"
#include "span.h"
#include "suspect.h"

enum { FREES_PER_MAINTAIN = 64 }; /* in a first-class heap, between two looks at its pool */

static void free_own(hk_cache_t *cache, unsigned class_index, void *block)
{
    if (hk_live_is_misaligned(block) || !hk_live_clear(block)) {
        hk_suspect_check(cache, block, "invalid free", "double free");
    }
    if (hk_cache_is_cold(cache, class_index)) {
        hk_heap_put_any(block);
        hk_cache_help(cache, HK_TRAP_MALLOC);
        return;
    }
    bool full = hk_cache_is_full(cache, class_index);
    if (full && !hk_cache_make_room(cache, class_index)) {
        hk_heap_put_any(block);
        return;
    }
    hk_cache_push(cache, class_index, block);
    if (full) {
        hk_cache_help(cache, HK_TRAP_MALLOC);
    }
}

static void free_remote(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block)
{
    if (!hk_live_is_set(block)) {
        hk_suspect_check(cache, block, "invalid free", "double free");
    }
    hk_cache_push_outgoing(cache, owner, class_index, block);
}

void hk_path_free_cached(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block)
{
    if (owner == cache->heap->owner) {
        free_own(cache, class_index, block);
    } else {
        free_remote(cache, owner, class_index, block);
    }
}

/* Frees a run past the shelf; false, and nothing done, if it is free already.  With hardening there
 * is none: what comes next may lie between walls again. */
static bool free_run(hk_cache_t *cache, hk_run_t *run)
{
    size_t bytes = hk_run_bytes(run);
    bool done = hk_span_free_run(run);
    if (done && cache != NULL) {
        hk_cache_note_freed(cache, bytes);
    }
    if (done && cache != NULL && cache->linger_uses == 0 && hk_options.harden == 0) {
        hk_run_shelf_note_free(&cache->shelf);
    }
    return done;
}

static void maintain_first_class(hk_heap_t *heap)
{
    uint32_t frees = hk_load_relaxed(&heap->frees) + 1; /* relaxed: about how many is enough */
    hk_store_relaxed(&heap->frees, frees);
    if (frees % FREES_PER_MAINTAIN == 0) {
        size_t left = HK_PORTIONS_MAX * (size_t)HK_PORTION_BYTES;
        (void)hk_pool_maintain(heap->pool, hk_os_clock_ms(), &left);
    }
}

static void free_past_magazines(hk_cache_t *cache, hk_slab_t *slab, void *block)
{
    hk_heap_t *heap = slab->heap; /* later the slab may be gone */
    if (heap->hardened) {
        hk_path_free_hardened_in_slab(cache, slab, block);
    } else {
        if (heap->owner != HK_OWNER_NONE && !hk_live_is_set(block)) {
            hk_suspect_check(cache, block, "invalid free", "double free");
        }
        hk_heap_put_block(heap, slab, block);
    }
    if (heap->owner == HK_OWNER_NONE) {
        maintain_first_class(heap);
    }
}

static void free_in_slab(hk_cache_t *cache, hk_slab_t *slab, void *block)
{
    if (cache == NULL || slab->heap->owner == HK_OWNER_NONE || slab->heap->hardened) {
        free_past_magazines(cache, slab, block);
    } else {
        hk_path_free_cached(cache, slab->heap->owner, slab->class_index, block);
    }
}

void hk_path_free_by_map(hk_cache_t *cache, void *block)
{
    hk_region_t *region = hk_registry_find(block);
    switch (region == NULL ? 0 : (int)region->kind) {
    case HK_REGION_SUPERSLAB: {
        hk_slab_t *slab = hk_superslab_slab_at((hk_superslab_t *)region, block);
        if (slab->units == 0) {
            hk_log_fatal("invalid free", block,
                         "its slab is empty: a double free, or no block at all");
        }
        free_in_slab(cache, slab, block);
        return;
    }
    case HK_REGION_RUNS: {
        hk_run_t *run = hk_run_find((hk_run_area_t *)region, block);
        if (run == NULL || !free_run(cache, run)) {
            hk_suspect_reject_run("invalid free", (hk_run_area_t *)region, block);
        }
        return;
    }
    case HK_REGION_LARGE: {
        hk_large_t *large = (hk_large_t *)region;
        if (large->address != block) {
            hk_reject_block("invalid free", block, "an interior pointer: no block starts there");
        }
        size_t bytes = large->bytes;
        if (!hk_span_free_large(large, block)) {
            hk_reject_block("double free", block, "the block is free already");
        }
        if (cache != NULL) {
            hk_cache_note_freed(cache, bytes);
        }
        return;
    }
    case HK_REGION_REFUGE: hk_refuge_free((hk_refuge_t *)region, block); return;
    case HK_REGION_RETIRED: hk_reject_block("double free", block, "the block is free already");
    case HK_REGION_GUARD: hk_guard_free(block); return;
    case HK_REGION_NOTHING: hk_nothing_free(block); return;
    default: hk_suspect_reject_foreign("invalid free", block);
    }
}

static void free_uncached(void *block)
{
    hk_path_free_by_map(NULL, block);
}

void hk_path_replay_uncached(void)
{
    if (hk_refuge_has_deferred() && hk_gate_enter_stranger()) {
        hk_refuge_replay(free_uncached);
        hk_gate_leave_stranger();
    }
}

/* Enters the gate.  If a fork is under way, notes the block and returns false.  A block that cannot
 * be noted is lost, unless the fork is over by then. */
HK_INLINE bool enter_or_note(hk_cache_t *cache, void *block)
{
    return hk_thread_enter(cache) || (!hk_refuge_defer(block) && hk_thread_enter(cache));
}

HK_NOINLINE void hk_path_free_through_gate(void *block)
{
    unsigned class_index;
    uint16_t owner;
    hk_cache_t *cache = hk_thread_attach();
    if (!enter_or_note(cache, block)) {
        return;
    }
    if (cache == NULL || !hk_path_find_near(block, &owner, &class_index)) {
        hk_path_free_by_map(cache, block);
        if (cache != NULL) {
            hk_cache_help(cache, HK_TRAP_MALLOC);
        }
    } else {
        hk_path_free_cached(cache, owner, class_index, block);
    }
    hk_thread_leave(cache);
}

/* Puts a run on the thread's shelf, without the gate; false, and nothing done, if the block is no
 * run or not live, or there is no room. */
static bool shelve(hk_cache_t *cache, void *block)
{
    hk_region_t *region = cache->shelf.granted_pages != 0 ? hk_registry_find(block) : NULL;
    if (region == NULL || region->kind != HK_REGION_RUNS) {
        return false;
    }
    hk_run_t *run = hk_run_find((hk_run_area_t *)region, block);
    return run != NULL && run->heap == NULL && hk_run_shelf_put(&cache->shelf, run);
}

static void help_if_trapped(hk_cache_t *cache)
{
    if (HK_UNLIKELY(hk_cache_traps_free(cache))) {
        hk_path_help_trapped(cache, HK_TRAP_FREE);
    }
}

/* Frees a block, for a thread without hardening, that hk_cache_try_outgoing did not take. */
static HK_NOINLINE void free_plain(hk_cache_t *cache, void *block)
{
    uint16_t owner;
    unsigned class_index;
    if (cache->passes > 0 && hk_path_try_free(cache, block)) { /* trapped, and may pass */
        cache->passes--;
        return;
    }
    if (!hk_path_find_near(block, &owner, &class_index)) {
        if (shelve(cache, block)) {
            help_if_trapped(cache);
        } else {
            hk_path_free_through_gate(block);
        }
        return;
    }
    if (cache->tag != (uint64_t)owner << HK_OWNER_SHIFT) {
        hk_path_free_through_gate(block);
        return;
    }
    if (hk_path_free_own_within(cache, class_index, block)) {
        help_if_trapped(cache);
    } else if (enter_or_note(cache, block)) {
        free_own(cache, class_index, block);
        hk_thread_leave(cache);
    }
}

/* A block of another heap that can leave with others comes first, because programs whose threads
 * hand blocks on come here all the time.  Nothing else gets past that test: the near table does not
 * know NULL, nor hardened blocks by their class, and the heap's own blocks never go out. */
void hk_path_free_slow(void *block)
{
    hk_cache_t *cache = hk_thread_own;
    uint64_t folded = hk_registry_fold(block);
    uint16_t owner;
    unsigned class_index;
    if (hk_path_find_folded(block, folded, &owner, &class_index) &&
        hk_cache_try_outgoing(cache, owner, class_index, block)) {
        return;
    }
    if (cache->quick) {
        hk_path_free_hardened_quickly(cache, block, folded);
    } else if (block == NULL) {
        return;
    } else if (HK_LIKELY(!cache->hardened)) {
        free_plain(cache, block);
    } else {
        hk_path_free_hardened_whole(cache, block, folded);
    }
}
