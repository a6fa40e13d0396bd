/*
 * path: the slow paths.  See path.h.
 */
#include "path.h"

#include "decay.h"
#include "housekeeper.h"
#include "log.h"
#include "options.h"
#include "os.h"
#include "guard.h"
#include "harden.h"
#include "nothing.h"
#include "reclaim.h"
#include "refuge.h"
#include "retire.h"
#include "span.h"
#include "suspect.h"

enum {
    OWNED_PER_MAINTAIN = 64, /* frees in first-class heaps between two looks at the pool */
    FINISH_BLOCKS = 32768,   /* of each heap, looked through at the end: half a millisecond */
};

/* ---- malloc ---- */

/* Before a direct mapping that would make the process larger than it ever was, what is free and resident goes, if it is much. */
static void make_way(size_t size)
{
    size_t committed = hk_limit_committed_bytes();
    if (size <= HK_RUN_BYTES_MAX || committed + size <= hk_decay_peak()) {
        return;
    }
    size_t warm = hk_pool_warm_bytes(&hk_shared_pool) + hk_run_warm_bytes();
    if (warm > hk_policy_warm_bytes(committed)) {
        (void)hk_pool_purge(&hk_shared_pool, 0, 0);
        (void)hk_run_purge(0);
    }
}

void *hk_path_allocate_past_caches(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh)
{
    if (hk_harden_owns(heap)) {
        return hk_harden_allocate_in(heap, size, alignment, fresh);
    }
    unsigned class_index = hk_class_of_aligned(size, alignment);
    return class_index < HK_CLASS_COUNT ? hk_heap_take_block(heap, class_index)
                                        : hk_span_allocate(heap, size, alignment, fresh);
}

/* The same; a soft cap in the way gives way. */
static void *allocate_at_caps(hk_heap_t *heap, size_t size, size_t alignment)
{
    bool fresh;
    void *block;
    unsigned class_index = hk_harden_owns(heap) ? hk_harden_class_of(size, alignment)
                                                : hk_class_of_aligned(size, alignment);
    do {
        block = hk_path_allocate_past_caches(heap, size, alignment, &fresh);
    } while (block == NULL && class_index < HK_CLASS_COUNT && hk_reclaim_at_cap(heap, class_index));
    return block;
}

static void *allocate_without_cache(size_t size, size_t alignment)
{
    hk_heap_t *heap = hk_heaps_orphan();
    void *block = heap == NULL ? NULL : allocate_at_caps(heap, size, alignment);
    if (heap != NULL && block == NULL) {
        (void)hk_reclaim_all(NULL, 0);
        block = allocate_at_caps(heap, size, alignment);
    }
    return block;
}

/* A soft cap in the way gives way. */
static bool reload(hk_cache_t *cache, unsigned class_index)
{
    bool loaded;
    do {
        loaded = hk_cache_reload(cache, class_index);
    } while (!loaded && hk_reclaim_at_cap(cache->heap, class_index));
    return loaded;
}

static void *try_hardened(hk_cache_t *cache, size_t size, size_t alignment)
{
    if (cache->harden == NULL) {
        return allocate_at_caps(cache->heap, size, alignment);
    }
    void *block;
    unsigned class_index = hk_harden_class_of(size, alignment);
    do {
        block = hk_harden_allocate(cache->harden, size, alignment);
    } while (block == NULL && class_index < HK_CLASS_COUNT &&
             hk_reclaim_at_cap(cache->heap, class_index));
    return block;
}

static void *allocate_hardened(hk_cache_t *cache, size_t size, size_t alignment)
{
    void *block = try_hardened(cache, size, alignment);
    if (block == NULL) {
        (void)hk_reclaim_all(cache, 0);
        block = try_hardened(cache, size, alignment);
    }
    hk_cache_help(cache);
    return block;
}

static void *allocate_small(hk_cache_t *cache, unsigned class_index, size_t size, size_t alignment)
{
    if (cache == NULL) {
        return allocate_without_cache(size, alignment);
    }
    if (hk_options.harden != 0) {
        return allocate_hardened(cache, size, alignment);
    }
    void *block =
        hk_cache_is_cold(cache, class_index) ? hk_heap_take_block(cache->heap, class_index) : NULL;
    if (block != NULL) {
        hk_cache_help(cache);
        return block;
    }
    if (!reload(cache, class_index)) {
        (void)hk_reclaim_all(cache, 0);
        if (!reload(cache, class_index)) {
            return NULL;
        }
    }
    block = hk_cache_pop(cache, class_index);
    hk_cache_help(cache);
    return block;
}

/* A sampled block, if one is due; NULL if not.  About as many blocks as the magazine holds were allocated since it was loaded. */
static void *allocate_sampled(unsigned class_index, size_t size, size_t alignment)
{
    hk_cache_t *cache = hk_thread_attach();
    void *block = NULL;
    if (cache == NULL) {
        return NULL;
    }
    size_t allocated = (size_t)(cache->limit[class_index] - cache->top[class_index]) + 1;
    if (hk_guard_is_due(&cache->sample_left, allocated) && hk_thread_enter(cache)) {
        block = hk_guard_allocate(size, alignment);
        hk_thread_leave(cache);
    }
    return block;
}

/* Frees the blocks that were noted while a fork was under way. */
static void replay(void *block)
{
    hk_path_free(block);
}

void *hk_path_malloc_slow(unsigned class_index, size_t size, size_t alignment)
{
    if (hk_options.guard_sample != 0) {
        void *sampled = allocate_sampled(class_index, size, alignment);
        if (sampled != NULL) {
            return sampled;
        }
    }
    if (hk_thread_cache->harden != NULL) {
        void *stocked = hk_harden_try_allocate(hk_thread_cache->harden, size, alignment);
        if (stocked != NULL) {
            return stocked;
        }
    }
    if (hk_cache_swap_in(hk_thread_cache, class_index)) {
        return hk_cache_pop(hk_thread_cache, class_index);
    }
    hk_cache_t *cache = hk_thread_attach();
    if (!hk_thread_enter(cache)) {
        return hk_refuge_allocate(size, alignment);
    }
    void *block = allocate_small(cache, class_index, size, alignment);
    if (hk_refuge_has_deferred()) {
        hk_refuge_replay(replay); /* inside the gate, so that none is noted again */
    }
    hk_thread_leave(cache);
    hk_reclaim_if_pressed();
    hk_housekeeper_look();
    return block;
}

static void *allocate_span_by(hk_span_allocate_t *allocate, size_t size, size_t alignment,
                              bool *fresh)
{
    hk_cache_t *cache = hk_thread_attach();
    if (!hk_thread_enter(cache)) {
        *fresh = true;
        return hk_refuge_allocate(size, alignment);
    }
    hk_heap_t *heap = cache != NULL ? cache->heap : hk_heaps_orphan();
    void *block = NULL;
    if (heap != NULL) {
        make_way(size);
        block = allocate(heap, size, alignment, fresh);
        if (block == NULL) {
            (void)hk_reclaim_all(cache, 0);
            block = allocate(heap, size, alignment, fresh);
        }
    }
    if (cache != NULL) {
        hk_cache_help(cache);
    }
    hk_thread_leave(cache);
    hk_reclaim_if_pressed();
    hk_housekeeper_look();
    return block;
}

void *hk_path_allocate_span(size_t size, size_t alignment, bool *fresh)
{
    return allocate_span_by(hk_span_allocate, size, alignment, fresh);
}

void *hk_path_allocate_growing(size_t size)
{
    bool fresh;
    return allocate_span_by(hk_span_allocate_growing, size, 1, &fresh);
}

/* ---- free ---- */

static void free_own(hk_cache_t *cache, unsigned class_index, void *block)
{
    if (hk_live_is_misaligned(block) || !hk_live_clear(block)) {
        hk_suspect_check(cache, block, NULL);
    }
    if (hk_cache_is_cold(cache, class_index)) {
        hk_heap_put_any(block);
        hk_cache_help(cache);
        return;
    }
    bool full = cache->top[class_index] == cache->limit[class_index];
    if (full && !hk_cache_make_room(cache, class_index)) {
        hk_heap_put_any(block);
        return;
    }
    hk_cache_push(cache, class_index, block);
    if (full) {
        hk_cache_help(cache);
    }
}

static void free_remote(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block)
{
    if (!hk_live_is_set(block)) {
        hk_suspect_check(cache, block, NULL);
    }
    hk_cache_push_outgoing(cache, owner, class_index, block);
}

static void free_in_slab(hk_cache_t *cache, hk_slab_t *slab, void *block)
{
    if (hk_harden_owns(slab->heap)) {
        hk_harden_free(cache != NULL ? cache->harden : NULL, slab, block);
        if (cache != NULL) {
            hk_cache_help(cache);
        }
    } else if (cache == NULL || slab->heap->owner == HK_OWNER_NONE || hk_options.harden != 0) {
        if (slab->heap->owner != HK_OWNER_NONE && !hk_live_is_set(block)) {
            hk_suspect_check(cache, block, NULL);
        }
        hk_pool_t *pool = slab->heap->pool;
        hk_heap_put_block(slab->heap, slab, block);
        if (cache != NULL && ++cache->operations % OWNED_PER_MAINTAIN == 0) {
            (void)hk_pool_maintain(pool, hk_os_clock_ms());
        }
    } else if (slab->heap == cache->heap) {
        free_own(cache, slab->class_index, block);
    } else {
        free_remote(cache, slab->heap->owner, slab->class_index, block);
    }
}

static HK_COLD _Noreturn void reject_foreign(const char *what, const void *block)
{
    hk_log_fatal(what, block, "not a block of this allocator, or already given back");
}

static HK_COLD _Noreturn void reject_run(const char *what, hk_run_area_t *area, const void *block)
{
    hk_log_fatal(what, block,
                 hk_run_covers(area, block) ? "an interior pointer: no block starts there"
                                            : "the block is free already, or there was none");
}

/* Frees by the map; the block is in no magazine yet. */
static void free_by_map(hk_cache_t *cache, void *block)
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
        if (run == NULL || !hk_span_free_run(run)) {
            reject_run("invalid free", (hk_run_area_t *)region, block);
        }
        return;
    }
    case HK_REGION_LARGE: {
        hk_large_t *large = (hk_large_t *)region;
        if (large->address != block) {
            hk_log_fatal("invalid free", block, "an interior pointer: no block starts there");
        }
        hk_span_free_large(large);
        return;
    }
    case HK_REGION_REFUGE: hk_refuge_free((hk_refuge_t *)region, block); return;
    case HK_REGION_RETIRED: hk_log_fatal("double free", block, "the block is free already");
    case HK_REGION_GUARD: hk_guard_free(block); return;
    case HK_REGION_NOTHING: hk_nothing_free(block); return;
    default: reject_foreign("invalid free", block);
    }
}

/* A block of a thread's heap says in the near table whose it is; the map need not be asked.  False if the table does not know it. */
static bool find_near(const void *block, uint16_t *owner, unsigned *class_index)
{
    uint64_t folded = hk_registry_near((uintptr_t)block) ^ (uintptr_t)block;
    uint64_t address_bits = folded >> (HK_UNIT_SHIFT + 8) & 0xffffff;
    *class_index = (unsigned)(folded >> HK_UNIT_SHIFT) & 0xff;
    *owner = (uint16_t)(folded >> HK_OWNER_SHIFT);
    return address_bits == 0 && *class_index < HK_CLASS_COUNT && *owner != 0 &&
           (uintptr_t)block >> HK_OWNER_SHIFT == 0;
}

static HK_NOINLINE void free_through_gate(void *block)
{
    unsigned class_index;
    uint16_t owner;
    hk_cache_t *cache = hk_thread_attach();
    if (!hk_thread_enter(cache)) {
        hk_refuge_defer(block);
        return;
    }
    if (cache == NULL || hk_options.harden != 0 || !find_near(block, &owner, &class_index)) {
        free_by_map(cache, block);
        if (cache != NULL) {
            hk_cache_help(cache);
        }
    } else if (owner == cache->heap->owner) {
        free_own(cache, class_index, block);
    } else {
        free_remote(cache, owner, class_index, block);
    }
    hk_thread_leave(cache);
}

/* Frees a block as far as the cache alone suffices for it; false, and nothing done, if it does not. */
static bool free_within(hk_cache_t *cache, void *block)
{
    unsigned class_index;
    uint16_t owner;
    if (!find_near(block, &owner, &class_index)) {
        return false;
    }
    if (cache->harden != NULL) {
        return hk_harden_try_free(cache->harden, block, owner, class_index);
    }
    if (cache->tag != (uint64_t)owner << HK_OWNER_SHIFT) {
        return hk_cache_try_outgoing(cache, owner, class_index, block);
    }
    bool full = cache->top[class_index] == cache->limit[class_index];
    if (!full || hk_live_is_misaligned(block) || !hk_live_is_set(block) ||
        !hk_cache_swap_out(cache, class_index)) {
        return false;
    }
    (void)hk_live_clear(block);
    hk_cache_push(cache, class_index, block);
    return true;
}

void hk_path_free_slow(void *block)
{
    if (block != NULL && !free_within(hk_thread_cache, block)) {
        free_through_gate(block);
    }
}

/* ---- Blocks in place ---- */

static size_t slab_usable_bytes(const hk_slab_t *slab, const void *block, const char *what)
{
    if (slab->units == 0) {
        reject_foreign(what, block);
    }
    if (slab->class_index < HK_CLASS_COUNT && hk_harden_owns(slab->heap)) {
        return hk_harden_usable_bytes(slab, block, what);
    }
    bool owned = slab->heap->owner == HK_OWNER_NONE; /* then its blocks have no live bits */
    if (owned ? !hk_slab_starts_block(slab, block) : !hk_live_is_set(block)) {
        hk_suspect_check(hk_thread_cache, block, what);
    }
    return hk_class_info[slab->class_index].block_bytes;
}

size_t hk_path_usable_bytes(const void *block, const char *what)
{
    hk_region_t *region = hk_registry_find(block);
    switch (region == NULL ? 0 : (int)region->kind) {
    case HK_REGION_SUPERSLAB:
        return slab_usable_bytes(hk_superslab_slab_at((hk_superslab_t *)region, block), block,
                                 what);
    case HK_REGION_RUNS: {
        const hk_run_t *run = hk_run_find((hk_run_area_t *)region, block);
        if (run == NULL) {
            reject_run(what, (hk_run_area_t *)region, block);
        }
        return hk_run_bytes(run);
    }
    case HK_REGION_LARGE:
        if (((hk_large_t *)region)->address == block) {
            return hk_large_usable_bytes((hk_large_t *)region);
        }
        hk_log_fatal(what, block, "an interior pointer: no block starts there");
    case HK_REGION_REFUGE: return hk_refuge_usable_bytes((hk_refuge_t *)region, block);
    case HK_REGION_RETIRED: hk_log_fatal(what, block, "the block is free already");
    case HK_REGION_GUARD: return hk_guard_usable_bytes(block, what);
    case HK_REGION_NOTHING: return hk_nothing_usable_bytes(block, what);
    default: reject_foreign(what, block);
    }
}

/* The slab of a live small block of a hardened heap, or NULL. */
static hk_slab_t *hardened_slab_of(const void *block)
{
    hk_slab_t *slab = hk_slab_find(block);
    return slab != NULL && slab->class_index < HK_CLASS_COUNT && hk_harden_owns(slab->heap) ? slab
                                                                                            : NULL;
}

static hk_large_t *walled_large_of(const void *block)
{
    hk_region_t *region = hk_registry_find(block);
    hk_large_t *large = (hk_large_t *)region;
    return region != NULL && region->kind == HK_REGION_LARGE && large->walled ? large : NULL;
}

bool hk_path_is_exact(const void *block)
{
    return hk_options.harden != 0 &&
           (hardened_slab_of(block) != NULL || walled_large_of(block) != NULL);
}

void hk_path_shrink(void *block, size_t size)
{
    if (hk_options.harden == 0) {
        return;
    }
    hk_slab_t *slab = hardened_slab_of(block);
    hk_large_t *large = walled_large_of(block);
    if (slab != NULL) {
        hk_harden_shrink(slab, block, size);
    } else if (large != NULL) {
        (void)hk_retire_resize(large, size);
    }
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
        make_way(size > bytes ? size - bytes : 0);
        resized = hk_span_resize_large((hk_large_t *)region, size);
        if (resized == NULL && size > bytes && !hk_limit_allows(size - bytes)) {
            (void)hk_reclaim_all(cache, 0); /* a copy would need both sizes at once */
            resized = hk_span_resize_large((hk_large_t *)region, size);
        }
    } else if (region->kind == HK_REGION_RUNS) {
        hk_run_t *run = hk_run_find((hk_run_area_t *)region, block);
        resized = run != NULL && hk_span_resize_run(run, size) ? block : NULL;
    }
    hk_thread_leave(cache);
    hk_reclaim_if_pressed();
    return resized;
}

/* ---- The whole ---- */

size_t hk_path_trim(size_t keep_bytes)
{
    hk_cache_t *cache = hk_thread_attach();
    size_t bytes = 0;
    if (hk_thread_enter(cache)) {
        bytes = hk_reclaim_all(cache, keep_bytes);
        hk_thread_leave(cache);
    }
    return bytes;
}

void hk_path_finish(void)
{
    hk_cache_t *cache = hk_thread_cache;
    if (cache != &hk_cache_empty && hk_gate_enter(&cache->busy)) {
        if (hk_options.harden >= 2 && hk_thread_is_alone()) {
            hk_harden_inspect(&hk_shared_pool);
        }
        hk_cache_flush(cache);
        hk_reclaim_heaps(FINISH_BLOCKS);
        hk_gate_leave(&cache->busy);
    }
}

bool hk_path_enter(void)
{
    return hk_thread_enter(hk_thread_attach());
}

void hk_path_leave(void)
{
    hk_thread_leave(hk_thread_cache != &hk_cache_empty ? hk_thread_cache : NULL);
}
