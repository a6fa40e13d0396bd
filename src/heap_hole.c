/*
 * heap_hole: see heap_hole.h.
 */
#include "heap_hole.h"

#include "bitrange.h"
#include "os.h"

enum {
    SLABS_AT_ONCE = 32, /* while the lock is held: some hundred microseconds */
    FREED_SHIFT = 3,    /* an eighth of its blocks freed since makes a slab worth another look */
};

static size_t pages_of(const hk_slab_t *slab)
{
    return ((size_t)slab->units << HK_UNIT_SHIFT) / hk_os_page_bytes();
}

static void count_holes(hk_heap_t *heap, hk_slab_t *slab, size_t pages)
{
    size_t page_bytes = hk_os_page_bytes();
    size_t bytes = hk_load_relaxed(&heap->hole_bytes) - slab->hole_pages * page_bytes;
    hk_store_relaxed(&heap->hole_bytes, bytes + pages * page_bytes);
    slab->hole_pages = (uint8_t)pages;
}

void hk_heap_hole_forget_locked(hk_heap_t *heap, hk_slab_t *slab)
{
    count_holes(heap, slab, 0);
    slab->holes_at = 0;
}

/* Whether only free blocks lie on the page. */
static bool is_hole(const hk_slab_t *slab, size_t page, size_t page_bytes)
{
    const hk_class_info_t *info = &hk_class_info[slab->class_index];
    size_t first = hk_class_block_index(slab->class_index, (uint32_t)(page * page_bytes));
    size_t end =
        1 + hk_class_block_index(slab->class_index, (uint32_t)((page + 1) * page_bytes - 1));
    end = end < info->block_count ? end : info->block_count;
    return first < end && hk_bitrange_find(slab->bitmap, first, end - first, UINT64_MAX) == end;
}

/* Purges them; returns how many pages.  Under the lock, since the blocks could be handed out meanwhile: it is one heap's,
 * and this takes a few microseconds. */
static size_t purge_slab(hk_slab_t *slab)
{
    size_t page_bytes = hk_os_page_bytes();
    size_t pages = pages_of(slab);
    size_t purged = 0;
    for (size_t first = 0, end; first < pages; first = end + 1) {
        for (end = first; end < pages && is_hole(slab, end, page_bytes); end++) {
        }
        if (end > first &&
            hk_os_purge(hk_slab_base(slab) + first * page_bytes, (end - first) * page_bytes)) {
            purged += end - first;
        }
    }
    return purged;
}

static bool is_of_huge_pages(const hk_slab_t *slab)
{
    hk_lock_acquire(&slab->superslab->pool->lock, HK_RANK_POOL);
    bool huge = slab->superslab->huge;
    hk_lock_release(&slab->superslab->pool->lock, HK_RANK_POOL);
    return huge;
}

/* Whether holes are likely, with fewer live blocks than pages, and were not looked for since an eighth of its blocks were
 * freed. */
static bool is_worth_a_look(const hk_slab_t *slab)
{
    unsigned blocks = hk_class_info[slab->class_index].block_count;
    return blocks - slab->free_blocks < pages_of(slab) &&
           (slab->holes_at == 0 || slab->free_blocks > slab->holes_at + (blocks >> FREED_SHIFT));
}

static size_t look_at_slab_locked(hk_heap_t *heap, hk_slab_t *slab)
{
    size_t before = slab->hole_pages;
    size_t pages = is_of_huge_pages(slab) ? 0 : purge_slab(slab);
    count_holes(heap, slab, pages);
    slab->holes_at = slab->free_blocks;
    return pages > before ? (pages - before) * hk_os_page_bytes() : 0;
}

/* Purges the holes of up to limit slabs of the list; returns how many it looked at. */
static unsigned purge_list_locked(hk_heap_t *heap, hk_slab_t *slab, unsigned limit, size_t *bytes)
{
    unsigned looked = 0;
    for (; slab != NULL && looked < limit; slab = slab->next) {
        if (is_worth_a_look(slab)) {
            *bytes += look_at_slab_locked(heap, slab);
            looked++;
        }
    }
    return looked;
}

size_t hk_heap_hole_purge(hk_heap_t *heap, unsigned limit)
{
    size_t bytes = 0;
    if (heap->hardened || !hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        return 0;
    }
    while (limit > 0 && heap->hole_classes > 0) {
        hk_heap_class_t *class = &heap->classes[heap->hole_classes - 1];
        unsigned looked =
            purge_list_locked(heap, class->partial[HK_SLAB_BUCKETS - 1], limit, &bytes);
        heap->hole_classes = (uint16_t)(heap->hole_classes - (looked < limit));
        limit -= looked;
    }
    heap->holes_purged_bytes += bytes;
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return bytes;
}

/* The lock is open now and then, for who else wants it. */
static size_t purge_bucket(hk_heap_t *heap, unsigned class_index, unsigned bucket)
{
    size_t bytes = 0;
    unsigned looked;
    do {
        hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
        hk_slab_t *first = heap->classes[class_index].partial[bucket];
        looked = purge_list_locked(heap, first, SLABS_AT_ONCE, &bytes);
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
    } while (looked == SLABS_AT_ONCE);
    return bytes;
}

size_t hk_heap_hole_purge_all(hk_heap_t *heap)
{
    size_t bytes = 0;
    if (heap->hardened) {
        return 0;
    }
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS; bucket++) {
            bytes += purge_bucket(heap, class_index, bucket);
        }
    }
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    heap->holes_purged_bytes += bytes;
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return bytes;
}

void hk_heap_hole_end_epoch_locked(hk_heap_t *heap)
{
    size_t holes = hk_load_relaxed(&heap->hole_bytes); /* relaxed: the lock is held */
    size_t slab_bytes = hk_heap_units(heap) * HK_UNIT_BYTES;
    if (hk_policy_wants_holes(slab_bytes, heap->free_low_water, holes)) {
        heap->hole_classes = HK_CLASS_COUNT;
    }
    heap->free_low_water = hk_heap_free_bytes(heap);
}

void hk_heap_hole_restart(hk_heap_t *heap)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    heap->hole_classes = HK_CLASS_COUNT;
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}
