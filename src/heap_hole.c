/*
 * heap_hole: see heap_hole.h.
 */
#include "heap_hole.h"

#include "bitrange.h"
#include "os.h"

/* Which slabs a round looks at. */
typedef enum hole_round {
    SPARSE, /* those that are mostly free */
    IDLE,   /* and others of which no block was taken since the last such round */
    ALL,
} hole_round_t;

enum {
    SLABS_AT_ONCE = 32,   /* while the lock is held: some hundred microseconds */
    PASSED_AT_ONCE = 512, /* with those not worth a look: some ten microseconds more */
    FREED_SHIFT = 3,      /* an eighth of its blocks freed since makes a slab worth another look */
    LISTS = HK_CLASS_COUNT * HK_SLAB_BUCKETS,
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
    slab->hole_waits = false;
}

/* Whether only free blocks lie on the page. */
static bool is_hole(const hk_slab_t *slab, size_t page, size_t page_bytes)
{
    const hk_class_info_t *info = &hk_class_info[slab->class_index];
    size_t first = hk_class_block_index(slab->class_index, (uint32_t)(page * page_bytes));
    size_t end =
        1 + hk_class_block_index(slab->class_index, (uint32_t)((page + 1) * page_bytes - 1));
    end = end < info->block_count ? end : info->block_count;
    return first < end && hk_bitrange_find_clear(slab->bitmap, first, end - first) == end;
}

/* Purges the slab's holes; returns how many pages.  The lock stays held, since the blocks could be
 * handed out meanwhile.  It is only one heap's, and this takes a few microseconds. */
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

/* Whether holes are likely, which they are with fewer live blocks than pages, and an eighth of the
 * slab's blocks has been freed since they were last looked for. */
static bool is_worth_a_look(const hk_slab_t *slab)
{
    unsigned blocks = hk_class_info[slab->class_index].block_count;
    return blocks - slab->free_blocks < pages_of(slab) &&
           (slab->holes_at == 0 || slab->hole_waits ||
            slab->free_blocks > slab->holes_at + (blocks >> FREED_SHIFT));
}

/* Whether the slab is left to the next round, to see whether its blocks are wanted meanwhile. */
static bool is_left_locked(const hk_heap_t *heap, hk_slab_t *slab)
{
    bool left =
        heap->hole_round == IDLE && slab->bucket < HK_SLAB_BUCKETS - 1 && slab->holes_at == 0;
    if (left) {
        slab->holes_at = slab->free_blocks;
        slab->hole_waits = true;
    }
    return left;
}

static size_t look_at_slab_locked(hk_heap_t *heap, hk_slab_t *slab)
{
    size_t before = slab->hole_pages;
    size_t pages = is_of_huge_pages(slab) ? 0 : purge_slab(slab);
    count_holes(heap, slab, pages);
    slab->holes_at = slab->free_blocks;
    slab->hole_waits = false;
    return pages > before ? (pages - before) * hk_os_page_bytes() : 0;
}

/* ---- Rounds ---- */

static void begin_round_locked(hk_heap_t *heap, hole_round_t round)
{
    heap->hole_lists = LISTS;
    heap->hole_round = (uint8_t)round;
    heap->hole_next = NULL;
}

/* The slab where the round goes on; NULL if it is done. */
static hk_slab_t *find_next_locked(hk_heap_t *heap)
{
    while (heap->hole_next == NULL && heap->hole_lists > 0) {
        unsigned list = heap->hole_lists - 1u;
        unsigned bucket = list % HK_SLAB_BUCKETS;
        if (heap->hole_round != SPARSE || bucket == HK_SLAB_BUCKETS - 1) {
            heap->hole_next = heap->classes[list / HK_SLAB_BUCKETS].partial[bucket];
        }
        heap->hole_lists = (uint16_t)(heap->hole_lists - (heap->hole_next == NULL));
    }
    return heap->hole_next;
}

void hk_heap_hole_skip_locked(hk_heap_t *heap, const hk_slab_t *slab)
{
    if (heap->hole_next == slab) {
        heap->hole_next = slab->next;
        heap->hole_lists = (uint16_t)(heap->hole_lists - (slab->next == NULL));
    }
}

/* Looks at up to limit slabs; returns how many it passed by. */
static unsigned go_on_locked(hk_heap_t *heap, unsigned limit, size_t *bytes)
{
    unsigned passed = 0;
    hk_slab_t *slab;
    while (limit > 0 && passed < PASSED_AT_ONCE && (slab = find_next_locked(heap)) != NULL) {
        hk_heap_hole_skip_locked(heap, slab);
        passed++;
        if (is_worth_a_look(slab) && !is_left_locked(heap, slab)) {
            size_t given = look_at_slab_locked(heap, slab);
            heap->holes_purged_bytes += given;
            *bytes += given;
            limit--;
        }
    }
    return passed;
}

size_t hk_heap_hole_purge(hk_heap_t *heap, unsigned limit)
{
    size_t bytes = 0;
    if (heap->hardened || !hk_lock_try_acquire(&heap->lock, HK_RANK_HEAP)) {
        return 0;
    }
    (void)go_on_locked(heap, limit, &bytes);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return bytes;
}

/* The lock is opened now and then, for others who want it.  Others may begin new rounds meanwhile,
 * for ever; so this ends when it has passed by as many slabs as there can have been. */
size_t hk_heap_hole_purge_all(hk_heap_t *heap)
{
    size_t bytes = 0;
    if (heap->hardened) {
        return 0;
    }
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    begin_round_locked(heap, ALL);
    size_t left = hk_heap_units(heap) + 1; /* one more than its slabs, so that the end is met too */
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    for (unsigned passed = 1; left > 0 && passed > 0; left = hk_above(left, passed)) {
        hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
        passed = go_on_locked(heap, SLABS_AT_ONCE, &bytes);
        hk_lock_release(&heap->lock, HK_RANK_HEAP);
    }
    return bytes;
}

/* Unless a round is under way.  One through idle slabs begins in the place of one through sparse
 * ones, which are among them; else a process that keeps growing would never come to it. */
static void restart_locked(hk_heap_t *heap, hole_round_t round)
{
    if (heap->hole_lists == 0 || (round == IDLE && heap->hole_round == SPARSE)) {
        begin_round_locked(heap, round);
    }
}

void hk_heap_hole_end_epoch_locked(hk_heap_t *heap)
{
    size_t holes = hk_load_relaxed(&heap->hole_bytes); /* relaxed: the lock is held */
    size_t slab_bytes = hk_heap_units(heap) * HK_UNIT_BYTES;
    if (hk_policy_wants_holes(slab_bytes, hk_above(heap->free_low_water, holes))) {
        restart_locked(heap, IDLE);
    }
    heap->free_low_water = hk_heap_free_bytes(heap);
}

void hk_heap_hole_restart(hk_heap_t *heap)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    restart_locked(heap, SPARSE);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}
