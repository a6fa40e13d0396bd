/*
 * span: see span.h.
 */
#include "span.h"

#include "os.h"

static unsigned units_for(size_t size)
{
    return size == 0 ? 1 : (unsigned)((size + HK_UNIT_BYTES - 1) >> HK_UNIT_SHIFT);
}

size_t hk_span_good_size(size_t size)
{
    return hk_align_up(size == 0 ? 1 : size, hk_os_page_bytes());
}

static void *allocate_units(hk_heap_t *heap, size_t size, bool *fresh)
{
    hk_slab_t *slab = hk_pool_acquire(heap->pool, heap, units_for(size), HK_CLASS_SPAN);
    if (slab == NULL) {
        return NULL;
    }
    hk_store_relaxed(&slab->span_bytes,
                     hk_span_good_size(size)); /* relaxed: a statistic to others */
    *fresh = slab->fresh;
    return hk_slab_base(slab);
}

static void *allocate_large(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh)
{
    hk_large_t *large = hk_large_allocate(size, alignment);
    if (large == NULL) {
        return NULL;
    }
    large->heap = heap;
    large->prev = NULL;
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    large->next = heap->large;
    if (heap->large != NULL) {
        heap->large->prev = large;
    }
    heap->large = large;
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    *fresh = large->fresh;
    return large->address;
}

void *hk_span_allocate(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh)
{
    if (size <= (size_t)HK_SPAN_UNITS_MAX * HK_UNIT_BYTES && alignment <= HK_UNIT_BYTES) {
        return allocate_units(heap, size, fresh);
    }
    return allocate_large(heap, hk_span_good_size(size), alignment, fresh);
}

void hk_span_free_units(hk_slab_t *slab)
{
    hk_pool_release(slab->heap->pool, slab);
}

bool hk_span_resize_units(hk_slab_t *slab, size_t size)
{
    if (size <= HK_SMALL_MAX || size > (size_t)HK_SPAN_UNITS_MAX * HK_UNIT_BYTES) {
        return false;
    }
    unsigned units = units_for(size);
    if ((units > slab->units && !hk_pool_extend(slab->heap->pool, slab, units))) {
        return false;
    }
    if (units < slab->units) {
        hk_pool_cut(slab->heap->pool, slab, units);
    }
    hk_store_relaxed(&slab->span_bytes,
                     hk_span_good_size(size)); /* relaxed: a statistic to others */
    return true;
}

void hk_span_free_large(hk_large_t *large)
{
    hk_heap_t *heap = large->heap;
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    if (large->prev != NULL) {
        large->prev->next = large->next;
    } else {
        heap->large = large->next;
    }
    if (large->next != NULL) {
        large->next->prev = large->prev;
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    hk_large_free(large);
}

void *hk_span_resize_large(hk_large_t *large, size_t size)
{
    if (size <= (size_t)HK_SPAN_UNITS_MAX * HK_UNIT_BYTES || !hk_large_resize(large, size)) {
        return NULL;
    }
    return large->address;
}
