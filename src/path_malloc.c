/*
 * path, allocating: the slow paths of malloc.  See path.h.
 */
#include "guard.h"
#include "housekeeper.h"
#include "nothing.h"
#include "options.h"
#include "path.h"
#include "peak.h"
#include "reclaim.h"
#include "refuge.h"
#include "span.h"
#include "trace.h"

/* The class for the size in the heap, hardened or not; HK_CLASS_COUNT if there is none. */
static unsigned class_in(const hk_heap_t *heap, size_t size, size_t alignment)
{
    return heap->hardened ? hk_harden_class_of(size, alignment)
                          : hk_class_of_aligned(size, alignment);
}

void *hk_path_allocate_past_caches(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh)
{
    unsigned class_index = class_in(heap, size, alignment);
    if (class_index == HK_CLASS_COUNT) { /* nothing need go for what cannot be */
        return hk_limit_is_possible(size, alignment)
                   ? hk_span_allocate(heap, size, alignment, fresh)
                   : NULL;
    }
    void *block = hk_heap_take_block(heap, class_index);
    return block != NULL && heap->hardened ? hk_harden_arm(block, class_index, size) : block;
}

/* A soft cap in the way gives way. */
static void *take_uncached(hk_heap_t *heap, size_t size, size_t alignment)
{
    bool fresh;
    void *block;
    unsigned class_index = class_in(heap, size, alignment);
    if (class_index == HK_CLASS_COUNT) {
        return hk_path_allocate_past_caches(heap, size, alignment, &fresh);
    }
    do { /* as reload */
        block = hk_path_allocate_past_caches(heap, size, alignment, &fresh);
    } while (block == NULL && hk_reclaim_at_cap(heap, class_index));
    return block != NULL ? block : hk_path_allocate_past_caches(heap, size, alignment, &fresh);
}

/* The heap of a cache, or the heap for threads without one (NULL); NULL without memory.  Memory
 * that others have freed may be what a first heap lacks. */
static hk_heap_t *heap_of(const hk_cache_t *cache)
{
    hk_heap_t *heap = cache != NULL ? cache->heap : hk_heaps_orphan();
    if (heap == NULL) {
        (void)hk_reclaim_all(NULL, 0);
        heap = hk_heaps_orphan();
    }
    return heap;
}

/* For a thread without a cache (NULL), and for spans with hardening. */
static void *allocate_uncached(hk_cache_t *cache, size_t size, size_t alignment)
{
    hk_heap_t *heap = heap_of(cache);
    void *block = heap == NULL ? NULL : take_uncached(heap, size, alignment);
    if (heap != NULL && block == NULL) {
        (void)hk_reclaim_all(cache, 0);
        block = take_uncached(heap, size, alignment);
    }
    if (cache != NULL) {
        hk_cache_help(cache, HK_TRAP_FREE);
    }
    return block;
}

/* A soft cap in the way gives way.  Another thread may have raised it by the time it is asked for,
 * so that it seems not to have been in the way. */
static bool reload(hk_cache_t *cache, unsigned class_index)
{
    bool loaded = hk_cache_reload(cache, class_index);
    while (!loaded && hk_reclaim_at_cap(cache->heap, class_index)) {
        loaded = hk_cache_reload(cache, class_index);
    }
    return loaded || hk_cache_reload(cache, class_index);
}

/* Not while blocks are sampled: they are counted when magazines are loaded, and this would fill
 * magazines in between. */
static bool take_in(hk_cache_t *cache, unsigned class_index)
{
    return hk_cache_may_take_in(cache) && hk_options.guard_sample == 0 &&
           hk_cache_take_in(cache, class_index);
}

/* One block of the class out of the cache, which has none loaded. */
static void *take_cached(hk_cache_t *cache, unsigned class_index)
{
    void *block =
        hk_cache_is_cold(cache, class_index) ? hk_cache_take_cold(cache, class_index) : NULL;
    if (block != NULL) {
        hk_cache_help(cache, HK_TRAP_FREE);
        return block;
    }
    if (!take_in(cache, class_index) && !reload(cache, class_index)) {
        (void)hk_reclaim_all(cache, 0);
        if (!reload(cache, class_index)) {
            return NULL;
        }
    }
    block = hk_cache_pop(cache, class_index);
    hk_cache_help(cache, HK_TRAP_FREE);
    return block;
}

/* One block of the class out of the loaded or the previous magazine; NULL if neither has one. */
static void *pop_stocked(hk_cache_t *cache, unsigned class_index)
{
    bool stocked = *cache->top[class_index] != NULL || hk_cache_swap_in(cache, class_index);
    return stocked ? hk_cache_pop(cache, class_index) : NULL;
}

static void *allocate_hardened(hk_cache_t *cache, size_t size, size_t alignment)
{
    void *nothing = size == 0 && alignment <= HK_NOTHING_ALIGNMENT ? hk_nothing_allocate() : NULL;
    if (nothing != NULL) {
        return nothing;
    }
    unsigned class_index = hk_harden_class_of(size, alignment);
    if (class_index == HK_CLASS_COUNT) {
        return allocate_uncached(cache, size, alignment);
    }
    void *block =
        pop_stocked(cache, class_index); /* of no bytes, but wider aligned than a nothing */
    block = block != NULL ? block : take_cached(cache, class_index);
    return block != NULL ? hk_harden_arm(block, class_index, size) : NULL;
}

static void *allocate_small(hk_cache_t *cache, unsigned class_index, size_t size, size_t alignment)
{
    if (cache == NULL) {
        return allocate_uncached(cache, size, alignment);
    }
    return HK_UNLIKELY(cache->hardened) ? allocate_hardened(cache, size, alignment)
                                        : take_cached(cache, class_index);
}

/* A sampled block, if one is due; NULL if not.  About as many blocks were allocated since the last
 * time as the magazine holds; with hardening every call comes by. */
static void *allocate_sampled(unsigned class_index, size_t size, size_t alignment)
{
    hk_cache_t *cache = hk_thread_attach();
    void *block = NULL;
    if (cache == NULL) {
        return NULL;
    }
    size_t allocated = cache->hardened ? 1 : hk_cache_room(cache, class_index) + 1;
    if (hk_guard_is_due(&cache->sample_left, allocated) && hk_thread_enter(cache)) {
        block = hk_guard_allocate(size, alignment);
        hk_thread_leave(cache);
    }
    return block;
}

size_t hk_path_good_size(size_t size, size_t alignment)
{
    unsigned class_index = hk_class_of_aligned(size, alignment);
    return class_index < HK_CLASS_COUNT ? hk_class_info[class_index].block_bytes
                                        : hk_span_good_size(size);
}

void *hk_path_allocate_refuge(size_t size, size_t alignment)
{
    return hk_refuge_allocate(hk_path_good_size(size, alignment), alignment);
}

/* So that others may trap the thread. */
HK_INLINE void join_watch(hk_cache_t *cache)
{
    if (cache != NULL && HK_UNLIKELY(hk_load_relaxed(&cache->view) != cache->own_view)) {
        hk_cache_watch_join(cache); /* relaxed: this thread's own */
    }
}

/* Enters the gate.  If a fork is under way, returns false, with a block out of the refuge in
 * *block, or NULL. */
HK_INLINE bool enter_or_take(hk_cache_t *cache, size_t size, size_t alignment, void **block)
{
    *block = NULL;
    if (hk_thread_enter(cache)) {
        join_watch(cache);
        return true;
    }
    *block = hk_path_allocate_refuge(size, alignment);
    return *block == NULL && hk_thread_enter(cache); /* what the refuge lacks the heap may have */
}

/* Leaves the gate, and does what may only be done outside it. */
HK_INLINE void leave_after_allocating(hk_cache_t *cache)
{
    if (hk_refuge_has_deferred()) {
        hk_path_replay();
    }
    hk_thread_leave(cache);
    hk_reclaim_if_pressed();
    hk_housekeeper_look();
}

static void *allocate_through_gate(unsigned class_index, size_t size, size_t alignment)
{
    hk_cache_t *cache = hk_thread_attach();
    void *block;
    if (!enter_or_take(cache, size, alignment, &block)) {
        return block;
    }
    block = allocate_small(cache, class_index, size, alignment);
    leave_after_allocating(cache);
    return block;
}

static void *pop_hardened(hk_cache_t *cache, size_t size, size_t alignment)
{
    unsigned class_index = hk_harden_class_of(size, alignment);
    void *block =
        class_index < HK_CLASS_COUNT && size != 0 ? pop_stocked(cache, class_index) : NULL;
    return block != NULL ? hk_harden_arm(block, class_index, size) : NULL;
}

static HK_NOINLINE void *take_trapped(hk_cache_t *cache, unsigned class_index)
{
    void *block = hk_cache_pop(cache, class_index);
    hk_path_help_trapped(cache, HK_TRAP_MALLOC); /* may empty the cache */
    return block;
}

void *hk_path_malloc_slow(unsigned class_index, size_t size, size_t alignment,
                          const void *return_address)
{
    hk_cache_t *cache = hk_thread_own;
    void *passed = hk_path_pass(class_index);
    if (passed != NULL) {
        return passed;
    }
    if (HK_UNLIKELY(*cache->top[class_index] != NULL && !cache->hardened)) {
        return take_trapped(cache, class_index);
    }
    if (HK_UNLIKELY(hk_options.guard_sample != 0) && !hk_trace_is_unwinder(return_address)) {
        void *sampled = allocate_sampled(class_index, size, alignment);
        if (sampled != NULL) {
            return sampled;
        }
    }
    if (HK_UNLIKELY(cache->hardened)) {
        void *block = pop_hardened(cache, size, alignment);
        if (block == NULL) {
            return allocate_through_gate(class_index, size, alignment);
        }
        if (hk_cache_is_watched(cache)) {
            hk_path_help_trapped(cache, HK_TRAP_MALLOC);
        }
        return block;
    }
    if (hk_cache_swap_in(cache, class_index)) {
        return hk_cache_pop(cache, class_index);
    }
    return allocate_through_gate(class_index, size, alignment);
}

static void make_way(hk_span_allocate_t *allocate, size_t size, size_t alignment)
{
    if (allocate == hk_span_allocate_growing && size > HK_SUPERSLAB_BYTES) {
        hk_peak_make_way_growing(size, size);
    } else {
        hk_peak_make_way(size, size <= HK_RUN_BYTES_MAX && alignment <= HK_SUPERSLAB_BYTES);
    }
}

/* A run off the thread's own shelf, without the gate; NULL if none fits.  With hardening there are
 * none. */
static void *take_shelved(size_t size, size_t alignment)
{
    hk_run_t *run =
        alignment <= HK_SPAN_ALIGNMENT ? hk_run_shelf_take(&hk_thread_own->shelf, size) : NULL;
    return run != NULL ? hk_run_address(run) : NULL;
}

/* For a thread whose shelf has runs, but none that fits: a run with resident pages, if there is
 * one. If not, the shelf is emptied, so that its runs can be merged before the process grows. */
static void *allocate_beside_shelf(hk_run_shelf_t *shelf, hk_span_allocate_t *allocate, size_t size,
                                   size_t alignment, bool *fresh)
{
    if (hk_run_shelf_is_empty(shelf)) {
        return NULL;
    }
    bool plain = allocate == hk_span_allocate && alignment <= HK_SPAN_ALIGNMENT;
    void *block = plain ? hk_span_allocate_warm(size, fresh) : NULL;
    if (block == NULL) {
        hk_run_shelf_empty(shelf);
    }
    return block;
}

static void *allocate_span_by(hk_span_allocate_t *allocate, size_t size, size_t alignment,
                              bool *fresh)
{
    hk_cache_t *cache = hk_thread_attach();
    void *block;
    if (!hk_limit_is_possible(size, alignment)) {
        return NULL; /* nothing need go for it first */
    }
    if (!enter_or_take(cache, size, alignment, &block)) {
        *fresh = true;
        return block;
    }
    hk_heap_t *heap = heap_of(cache);
    if (heap != NULL) {
        if (cache != NULL && size >= HK_SHELF_BYTES) {
            hk_run_shelf_empty(&cache->shelf); /* once merged, its runs may hold the block */
        }
        make_way(allocate, size, alignment);
        block = cache != NULL
                    ? allocate_beside_shelf(&cache->shelf, allocate, size, alignment, fresh)
                    : NULL;
        block = block != NULL ? block : allocate(heap, size, alignment, fresh);
        if (block == NULL) {
            (void)hk_reclaim_all(cache, 0);
            block = allocate(heap, size, alignment, fresh);
        }
    }
    if (cache != NULL) {
        hk_cache_help(cache, HK_TRAP_FREE);
    }
    leave_after_allocating(cache);
    return block;
}

void *hk_path_allocate_span(size_t size, size_t alignment, bool *fresh)
{
    void *block = take_shelved(size, alignment);
    if (block != NULL) {
        *fresh = false;
        if (HK_UNLIKELY(hk_cache_traps_malloc(hk_thread_own))) {
            hk_path_help_trapped(hk_thread_own, HK_TRAP_MALLOC);
        }
        return block;
    }
    return allocate_span_by(hk_span_allocate, size, alignment, fresh);
}

void *hk_path_allocate_growing(size_t size)
{
    bool fresh;
    return allocate_span_by(hk_span_allocate_growing, size, 1, &fresh);
}
