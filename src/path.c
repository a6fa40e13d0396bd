/*
 * path: blocks in place, and the whole.  See path.h.
 */
#include "path.h"

#include "guard.h"
#include "nothing.h"
#include "options.h"
#include "peak.h"
#include "reclaim.h"
#include "refuge.h"
#include "reject.h"
#include "retire.h"
#include "span.h"
#include "suspect.h"

enum {
    FINISH_BLOCKS = 32768,    /* of each heap, put into slabs at the end: half a millisecond */
    INSPECTED_BLOCKS = 65536, /* looked at by level 1 at the end: one or two milliseconds */
};

/* ---- Blocks in place ---- */

static size_t slab_usable_bytes(const hk_slab_t *slab, const void *block, const char *what,
                                const char *what_if_free)
{
    if (slab->units == 0) {
        hk_suspect_reject_foreign(what, block);
    }
    if (slab->heap->hardened) {
        return hk_harden_usable_bytes(slab, block, what);
    }
    if (slab->heap->owner == HK_OWNER_NONE) { /* then its blocks have no live bits */
        hk_suspect_check_owned(slab, block, what, what_if_free);
    } else if (!hk_live_is_set(block)) {
        hk_suspect_check(hk_thread_own, block, what, what_if_free);
    }
    return hk_class_info[slab->class_index].block_bytes;
}

size_t hk_path_usable_bytes(const void *block, const char *what, const char *what_if_free)
{
    size_t near_bytes = hk_path_near_bytes(block);
    if (HK_LIKELY(near_bytes != 0)) {
        return near_bytes;
    }
    size_t size;
    hk_quarantined_t found;
    if (hk_options.harden != 0 && hk_harden_find(block, &found) &&
        hk_harden_is_live(found, hk_canary_seal(block), &size, hk_canary.extent)) {
        return size;
    }
    hk_region_t *region = hk_registry_find(block);
    switch (region == NULL ? 0 : (int)region->kind) {
    case HK_REGION_SUPERSLAB:
        return slab_usable_bytes(hk_superslab_slab_at((hk_superslab_t *)region, block), block, what,
                                 what_if_free);
    case HK_REGION_RUNS: {
        const hk_run_t *run = hk_run_find((hk_run_area_t *)region, block);
        if (run == NULL) {
            hk_suspect_reject_run(what, (hk_run_area_t *)region, block);
        }
        return hk_run_bytes(run);
    }
    case HK_REGION_LARGE:
        if (((hk_large_t *)region)->address == block) {
            return hk_large_usable_bytes((hk_large_t *)region);
        }
        hk_reject_block(what, block, "an interior pointer: no block starts there");
    case HK_REGION_REFUGE: return hk_refuge_usable_bytes((hk_refuge_t *)region, block, what);
    case HK_REGION_RETIRED: hk_reject_block(what_if_free, block, "the block is free already");
    case HK_REGION_GUARD: return hk_guard_usable_bytes(block, what);
    case HK_REGION_NOTHING: return hk_nothing_usable_bytes(block, what);
    default: hk_suspect_reject_foreign(what, block);
    }
}

/* The bytes of a live small block of a hardened heap, its tail with them; 0 if it is none. */
static size_t hardened_bytes_of(const void *block)
{
    hk_quarantined_t found;
    if (hk_options.harden == 0) {
        return 0;
    }
    if (hk_harden_find(block, &found)) {
        return found.bytes;
    }
    const hk_slab_t *slab = hk_slab_find(block);
    return slab != NULL && slab->hardened ? hk_class_info[slab->class_index].block_bytes : 0;
}

static hk_large_t *walled_large_of(const void *block)
{
    hk_region_t *region = hk_registry_find(block);
    hk_large_t *large = (hk_large_t *)region;
    return region != NULL && region->kind == HK_REGION_LARGE && large->walled ? large : NULL;
}

static bool is_sampled(const void *block)
{
    const hk_region_t *region = hk_registry_find(block);
    return region != NULL && region->kind == HK_REGION_GUARD;
}

/* A mapping between walls may be older than hardening: then its size was rounded up. */
bool hk_path_is_exact(const void *block)
{
    if (hk_options.harden == 0) {
        return false;
    }
    const hk_large_t *large = walled_large_of(block);
    return large != NULL ? large->exact : hardened_bytes_of(block) != 0 || is_sampled(block);
}

/* A small block of a thread's hardened heap, whose size was found to be usable. */
static bool try_refit_small(void *block, size_t block_bytes, size_t size)
{
    if (size > block_bytes - HK_CANARY_TAIL_BYTES) {
        return false;
    }
    hk_canary_rearm(block, block_bytes, size);
    return true;
}

/* Any other block, with hardening. */
static bool try_refit_any(void *block, size_t usable, size_t size)
{
    size_t block_bytes = hardened_bytes_of(block);
    if (block_bytes != 0) {
        return try_refit_small(block, block_bytes, size);
    }
    if (size <= usable && is_sampled(block)) {
        hk_guard_shrink(block, size);
    } else if (size <= usable) {
        hk_large_t *large = walled_large_of(block);
        if (large != NULL && !hk_retire_resize(large, size)) {
            hk_retire_keep(large, size);
        }
    }
    return size <= usable;
}

bool hk_path_try_refit(void *block, size_t usable, size_t size)
{
    if (HK_LIKELY(hk_options.harden == 0)) {
        return size <= usable;
    }
    /* Who looks at all blocks at the process's end shuts strangers out, and does not look if there
     * are other caches. */
    hk_cache_t *cache = hk_thread_attach();
    if (cache == NULL && !hk_gate_enter_stranger()) {
        return false;
    }
    hk_quarantined_t found;
    bool done = hk_harden_find(block, &found) ? try_refit_small(block, found.bytes, size)
                                              : try_refit_any(block, usable, size);
    if (cache == NULL) {
        hk_gate_leave_stranger();
    }
    return done;
}

void *hk_path_resize(void *block, size_t size)
{
    hk_region_t *region = hk_registry_find(block);
    hk_cache_t *cache = hk_thread_attach();
    void *resized = NULL;
    if (!hk_thread_enter(cache)) {
        return NULL;
    }
    if (region->kind == HK_REGION_LARGE) {
        size_t bytes = ((hk_large_t *)region)->bytes;
        if (size > bytes) {
            hk_peak_make_way_growing(size, size - bytes);
        }
        resized = hk_span_resize_large((hk_large_t *)region, size);
        if (resized == NULL && size > bytes && !hk_limit_allows(size - bytes)) {
            (void)hk_reclaim_all(cache, 0); /* a copy would need both sizes at once */
            resized = hk_span_resize_large((hk_large_t *)region, size);
        }
    } else if (region->kind == HK_REGION_RUNS) {
        hk_run_t *run = hk_run_find((hk_run_area_t *)region, block);
        if (cache != NULL && run != NULL && size > hk_run_bytes(run)) {
            hk_run_shelf_empty(&cache->shelf); /* what is behind the block may lie there */
        }
        resized = run != NULL && hk_span_resize_run(run, size) ? block : NULL;
    }
    hk_thread_leave(cache);
    hk_reclaim_if_pressed();
    return resized;
}

/* ---- The watch ---- */

void hk_path_help_trapped(hk_cache_t *cache, hk_trap_t trap)
{
    if (hk_cache_watch_is_due(cache) && hk_gate_enter(&cache->busy)) {
        hk_cache_help(cache, trap);
        hk_gate_leave(&cache->busy);
    }
}

/* ---- The whole ---- */

void hk_path_replay(void)
{
    hk_refuge_replay(hk_path_free_slow);
}

size_t hk_path_trim(size_t keep_bytes)
{
    hk_cache_t *cache = hk_thread_attach();
    size_t bytes = 0;
    if (hk_thread_enter(cache)) {
        hk_path_replay();
        bytes = hk_reclaim_all(cache, keep_bytes) + hk_reclaim_holes();
        hk_thread_leave(cache);
    }
    return bytes;
}

/* Looks for writes past blocks and into free ones, unless another thread may be at work on them. */
static void inspect_blocks(void)
{
    if (!hk_thread_shut_out()) {
        return;
    }
    hk_guard_inspect();
    size_t most = hk_options.harden >= 2 ? SIZE_MAX : (size_t)INSPECTED_BLOCKS;
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        size_t done = hk_harden_inspect(part, most);
        most = hk_above(most, done);
    }
    hk_thread_let_in();
}

void hk_path_finish(void)
{
    hk_cache_t *cache = hk_thread_own;
    if (cache != &hk_cache_empty && hk_gate_enter(&cache->busy)) {
        if (hk_options.harden != 0) {
            inspect_blocks();
        }
        hk_cache_flush(cache);
        hk_reclaim_heaps(FINISH_BLOCKS);
        hk_gate_leave(&cache->busy);
    }
}
