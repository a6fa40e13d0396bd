/*
 * span: see span.h.
 */
#include "span.h"

#include "list.h"
#include "options.h"
#include "os.h"
#include "retire.h"

/* Link a span into the list of a first-class heap, and out of it. */
#define HK_SPAN_LINK(heap, list, span)                                                             \
    do {                                                                                           \
        hk_lock_acquire(&(heap)->lock, HK_RANK_HEAP);                                              \
        HK_LIST_PUSH((heap)->list, span, next, prev);                                              \
        hk_lock_release(&(heap)->lock, HK_RANK_HEAP);                                              \
    } while (0)

#define HK_SPAN_UNLINK(heap, list, span)                                                           \
    do {                                                                                           \
        hk_lock_acquire(&(heap)->lock, HK_RANK_HEAP);                                              \
        HK_LIST_REMOVE((heap)->list, span, next, prev);                                            \
        hk_lock_release(&(heap)->lock, HK_RANK_HEAP);                                              \
    } while (0)

size_t hk_span_good_size(size_t size)
{
    return hk_align_up(size == 0 ? 1 : size, hk_os_page_bytes());
}

static void *allocate_run(hk_heap_t *owned, size_t size, size_t alignment, bool *fresh)
{
    hk_run_t *run = hk_run_allocate(size, alignment, fresh);
    if (run == NULL) {
        return NULL;
    }
    if (owned != NULL) {
        run->heap = owned;
        HK_SPAN_LINK(owned, runs, run);
    }
    return hk_run_address(run);
}

/* NULL stays NULL: there was no memory. */
static void *hand_out(hk_heap_t *owned, hk_large_t *large, bool *fresh)
{
    if (large == NULL) {
        return NULL;
    }
    large->heap = owned;
    if (owned != NULL) {
        HK_SPAN_LINK(owned, large, large);
    }
    *fresh = large->fresh;
    return large->address;
}

/* With hardening spans lie between walls, as long as these are not too many. */
static bool is_walled(void)
{
    return hk_options.harden != 0 && hk_retire_has_room();
}

static void *allocate_large(hk_heap_t *owned, size_t size, size_t alignment, bool walled,
                            bool *fresh)
{
    hk_large_t *large = walled ? hk_retire_allocate(size, alignment)
                               : hk_large_allocate(hk_span_good_size(size), alignment);
    return hand_out(owned, large, fresh);
}

/* Whether this span is one of the process's first few, which lie apart, at a cost that only they
 * pay. */
static bool is_early(size_t size)
{
    static _Atomic unsigned count; /* both stop a few above the most */
    static _Atomic size_t bytes;
    return hk_load_relaxed(&count) < HK_APART_SPANS && /* relaxed: nothing hangs on them */
           hk_load_relaxed(&bytes) + size <= HK_APART_BYTES &&
           hk_add_relaxed(&count, 1) < HK_APART_SPANS &&
           hk_add_relaxed(&bytes, size) + size <= HK_APART_BYTES;
}

void *hk_span_allocate(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh)
{
    hk_heap_t *owned = heap->owner == HK_OWNER_NONE ? heap : NULL;
    bool walled = is_walled();
    if (size > HK_RUN_BYTES_MAX || alignment > HK_SUPERSLAB_BYTES || walled) {
        return allocate_large(owned, size, alignment, walled, fresh);
    }
    if (owned == NULL && hk_options.harden == 0 && is_early(size)) {
        hk_large_t *large = hk_retire_allocate(hk_span_good_size(size), alignment);
        if (large != NULL) {
            return hand_out(NULL, large, fresh);
        }
    }
    return allocate_run(owned, size, alignment, fresh);
}

void *hk_span_allocate_warm(size_t size, bool *fresh)
{
    hk_run_t *run = size <= HK_RUN_BYTES_MAX ? hk_run_allocate_warm(size, fresh) : NULL;
    return run != NULL ? hk_run_address(run) : NULL;
}

void *hk_span_allocate_growing(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh)
{
    hk_heap_t *owned = heap->owner == HK_OWNER_NONE ? heap : NULL;
    if (size > HK_SUPERSLAB_BYTES) {
        bool walled = is_walled();
        return walled || alignment > HK_SUPERSLAB_BYTES
                   ? allocate_large(owned, size, alignment, walled, fresh)
                   : hand_out(owned, hk_large_allocate_growing(size), fresh);
    }
    void *roomy = hk_options.harden == 0 /* which knows a block's exact size */
                      ? hk_span_allocate(heap, hk_policy_growing_bytes(size), alignment, fresh)
                      : NULL;
    return roomy != NULL ? roomy : hk_span_allocate(heap, size, alignment, fresh);
}

bool hk_span_free_run(hk_run_t *run)
{
    hk_heap_t *owned = run->heap;
    if (owned != NULL) {
        HK_SPAN_UNLINK(owned, runs, run);
    }
    return hk_run_free(run);
}

/* Of two threads that have found the mapping in the map one takes it out of there; before that
 * neither writes to it, since the other may have freed the descriptor.  What waits sealed is in the
 * map again. */
bool hk_span_free_large(hk_large_t *large, void *block)
{
    if (!hk_registry_take(block, &large->region) || large->region.kind != HK_REGION_LARGE) {
        return false;
    }
    if (large->heap != NULL) {
        HK_SPAN_UNLINK(large->heap, large, large);
    }
    if (large->walled) {
        hk_retire_free(large);
    } else {
        hk_large_free(large);
    }
    return true;
}

bool hk_span_resize_run(hk_run_t *run, size_t size)
{
    return size > HK_SMALL_MAX && size <= HK_RUN_BYTES_MAX && hk_run_resize(run, size);
}

/* One that lies apart grows by whole pages, as others do.  One that shrinks is to move, and to be
 * as any other from then on: what goes up and down would cost some system calls each time. */
static void *resize_apart(hk_large_t *large, size_t size)
{
    bool grown = size > large->bytes && hk_retire_resize(large, hk_span_good_size(size));
    return grown ? large->address : NULL;
}

void *hk_span_resize_large(hk_large_t *large, size_t size)
{
    if (large->walled && hk_options.harden == 0) {
        return resize_apart(large, size);
    }
    if (large->walled) {
        return size > HK_SMALL_MAX && hk_retire_resize(large, size) ? large->address : NULL;
    }
    return size > HK_SUPERSLAB_BYTES && hk_large_resize(large, size) ? large->address : NULL;
}
