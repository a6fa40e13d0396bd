/*
 * front, first-class heaps: hak_heap_create and what is allocated in such heaps.
 */
#include <errno.h>
#include <hakmem/hakmem.h>

#include "clear.h"
#include "front.h"
#include "limit.h"
#include "log.h"
#include "os.h"
#include "reclaim.h"
#include "refuge.h"

HAK_API hak_heap_t *hak_heap_create(void)
{
    hk_heap_t *heap = NULL;
    hk_cache_t *cache;
    if (hk_path_enter(&cache)) {
        heap = hk_heaps_create();
        hk_path_leave(cache);
    }
    return heap != NULL ? heap : hk_front_fail(ENOMEM);
}

HAK_API void hak_heap_destroy(hak_heap_t *heap)
{
    hk_cache_t *cache;
    if (heap == NULL) {
        return;
    }
    while (!hk_path_enter(&cache)) { /* destroying is no malloc: it may wait for a fork */
        hk_os_yield();
    }
    if (!hk_heaps_remove(heap)) {
        hk_log_fatal("invalid pointer: destroy", heap, "not a live heap");
    }
    /* Blocks of it may be among those that were freed while another thread forked. */
    hk_refuge_settle(hk_path_free_slow);
    hk_harden_inspect_heap(heap);
    hk_heap_delete(heap);
    hk_path_leave(cache);
}

void *hk_front_allocate_in(hk_heap_t *heap, size_t alignment, size_t size, bool zeroed)
{
    hk_cache_t *cache;
    if (!hk_path_enter(&cache)) { /* a fork is under way: the refuge serves all heaps */
        void *refuge = hk_front_hand_out(hk_path_allocate_refuge(size, alignment));
        if (refuge != NULL || !hk_path_enter(&cache)) {
            return refuge != NULL ? refuge : hk_front_fail(ENOMEM);
        }
    }
    bool fresh = false;
    void *block = hk_path_allocate_past_caches(heap, size, alignment, &fresh);
    if (block == NULL && hk_limit_is_possible(size, alignment)) {
        hk_path_replay();
        /* If it finds nothing, another thread may have given back. */
        (void)hk_reclaim_all(cache, 0);
        block = hk_path_allocate_past_caches(heap, size, alignment, &fresh);
    }
    if (hk_refuge_has_deferred()) {
        hk_path_replay();
    }
    hk_path_leave(cache);
    hk_reclaim_if_pressed();
    if (hk_front_hand_out(block) == NULL) {
        return hk_front_fail(ENOMEM);
    }
    return zeroed && !fresh ? hk_clear(block, size) : block;
}

HAK_API void *hak_heap_malloc(hak_heap_t *heap, size_t size)
{
    return size > PTRDIFF_MAX ? hk_front_fail(ENOMEM) : hk_front_allocate_in(heap, 1, size, false);
}

HAK_API void *hak_heap_calloc(hak_heap_t *heap, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX) {
        return hk_front_fail(ENOMEM);
    }
    return hk_front_allocate_in(heap, 1, bytes, true);
}

HAK_API void *hak_heap_aligned_alloc(hak_heap_t *heap, size_t alignment, size_t size)
{
    if (!hk_is_power_of_two(alignment)) {
        return hk_front_fail(EINVAL);
    }
    return size > PTRDIFF_MAX || alignment > PTRDIFF_MAX
               ? hk_front_fail(ENOMEM)
               : hk_front_allocate_in(heap, alignment, size, false);
}

HAK_API void *hak_heap_realloc(hak_heap_t *heap, void *block, size_t size)
{
    if (block == NULL) {
        return hak_heap_malloc(heap, size);
    }
    if (size == 0) {
        hk_front_take_back(block);
        return NULL;
    }
    return hk_front_resize(heap, block, size);
}
