/*
 * The round that looks for holes goes on where it ended, however the lists change meanwhile, and no
 * single call goes through all slabs.
 */
#include "test.h"

#include "fake_os.h"
#include "heap.h"
#include "heap_hole.h"

enum {
    SLABS = 64,
    MANY_SLABS = 700, /* more than one call passes by, and no more than two do */
    MOST_BLOCKS = MANY_SLABS * 1024,
    LIMIT = 32,
};

static void *blocks[MOST_BLOCKS];

/* Fills slabs of the class, and frees all but `left` of each. */
static void thin_out(hk_heap_t *heap, unsigned class_index, unsigned slabs, unsigned left)
{
    unsigned count = hk_class_info[class_index].block_count;
    CHECK(slabs * count <= MOST_BLOCKS);
    for (unsigned i = 0; i < slabs * count; i++)
        CHECK((blocks[i] = hk_heap_take_block(heap, class_index)) != NULL);
    for (unsigned i = 0; i < slabs * count; i++)
        if (i % count >= left)
            hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
}

static hk_heap_t *new_heap(void)
{
    hk_heap_t *heap = hk_heap_new(5, NULL);
    CHECK(heap != NULL && heap->hole_lists == 0 && heap->hole_bytes == 0);
    return heap;
}

/* Slabs with a live block on each page have none; there may be ever so many of them. */
static void test_bounded(void)
{
    hk_heap_t *heap = new_heap();
    unsigned class_index = hk_class_of(64);
    thin_out(heap, class_index, MANY_SLABS, HK_UNIT_BYTES / 4096);
    hk_heap_hole_restart(heap);
    CHECK(hk_heap_hole_purge(heap, LIMIT) == 0);
    CHECK(heap->hole_lists > 0 && heap->hole_next != NULL);
    const hk_slab_t *next = heap->hole_next;
    hk_heap_hole_restart(heap); /* not before the round is done */
    CHECK(heap->hole_next == next);
    CHECK(hk_heap_hole_purge(heap, LIMIT) == 0);
    CHECK(heap->hole_lists == 0 && heap->hole_next == NULL);
    CHECK(hk_heap_hole_purge_all(heap) == 0 && heap->hole_lists == 0);
    hk_heap_delete(heap);
}

/* Frees the slab's one live block: it leaves its list. */
static void empty_slab(hk_heap_t *heap, hk_slab_t *slab)
{
    for (unsigned i = 0; i < MOST_BLOCKS; i++)
        if (blocks[i] != NULL && hk_slab_find(blocks[i]) == slab &&
            hk_slab_probe(slab, blocks[i]) == HK_PUT_DONE) {
            hk_heap_put_block(heap, slab, blocks[i]);
            return;
        }
    CHECK(false);
}

static void test_lists_change(size_t pages)
{
    hk_heap_t *heap = new_heap();
    unsigned class_index = hk_class_of(4096);
    thin_out(heap, class_index, SLABS, 1);
    hk_heap_hole_restart(heap);
    size_t bytes = hk_heap_hole_purge(heap, 10);
    CHECK(bytes == 10 * (pages - 1) * 4096 && heap->hole_bytes == bytes);
    hk_slab_t *next = heap->hole_next;
    CHECK(next != NULL && next->holes_at == 0 && next->next != NULL);
    hk_slab_t *behind = next->next;
    empty_slab(heap, next);
    CHECK(heap->hole_next == behind);
    while (heap->hole_next->next != NULL)
        CHECK(hk_heap_hole_purge(heap, 1) > 0);
    CHECK(heap->hole_bytes == (SLABS - 2) * (pages - 1) * 4096);
    unsigned lists = heap->hole_lists;
    empty_slab(heap, heap->hole_next); /* the last of its list: the next one's turn */
    CHECK(heap->hole_next == NULL && heap->hole_lists == lists - 1);
    CHECK(hk_heap_hole_purge(heap, LIMIT) == 0 && heap->hole_lists == 0);
    hk_heap_delete(heap);
}

/* A heap with so many slabs of pages, of which each has half in use. */
static hk_heap_t *half_full_heap(unsigned slabs)
{
    hk_heap_t *heap = new_heap();
    unsigned class_index = hk_class_of(4096);
    thin_out(heap, class_index, slabs, hk_class_info[class_index].block_count / 2);
    return heap;
}

/* Slabs that are half full are for who asks for all. */
static void test_all(size_t pages)
{
    hk_heap_t *heap = half_full_heap(SLABS);
    hk_heap_hole_restart(heap);
    CHECK(hk_heap_hole_purge(heap, LIMIT) == 0 && heap->hole_lists == 0);
    size_t bytes = hk_heap_hole_purge_all(heap);
    CHECK(bytes == SLABS * pages / 2 * 4096 && heap->hole_bytes == bytes);
    CHECK(heap->hole_lists == 0 && heap->holes_purged_bytes == bytes);
    CHECK(hk_heap_hole_purge_all(heap) == 0 && heap->hole_bytes == bytes);
    hk_heap_delete(heap);
}

/* An epoch ends in which nothing of what is free was wanted. */
static void end_epoch(hk_heap_t *heap)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    heap->free_low_water = hk_heap_free_bytes(heap);
    hk_heap_hole_end_epoch_locked(heap);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

/* Half full slabs wait for another round, and for yet another if a block was taken meanwhile. */
static void test_idle(size_t pages)
{
    enum { IDLE_SLABS = 96, ALL = 2 * IDLE_SLABS };
    hk_heap_t *heap = half_full_heap(IDLE_SLABS);
    end_epoch(heap);
    CHECK(hk_heap_hole_purge(heap, ALL) == 0 && heap->hole_lists == 0);
    void *taken = hk_heap_take_block(heap, hk_class_of(4096));
    CHECK(taken != NULL);
    end_epoch(heap);
    size_t bytes = (IDLE_SLABS - 1) * pages / 2 * 4096;
    CHECK(hk_heap_hole_purge(heap, ALL) == bytes && heap->hole_bytes == bytes);
    CHECK(hk_slab_find(taken)->hole_pages == 0 && heap->hole_lists == 0);
    end_epoch(heap); /* what is left is not worth a round */
    CHECK(heap->hole_lists == 0);
    CHECK(hk_heap_hole_purge_all(heap) == (pages / 2 - 1) * 4096);
    hk_heap_delete(heap);
}

/* A round through the sparsest slabs makes way for one through all. */
static void test_makes_way(void)
{
    hk_heap_t *heap = new_heap();
    thin_out(heap, hk_class_of(4096), SLABS, 1);
    hk_heap_hole_restart(heap);
    CHECK(hk_heap_hole_purge(heap, 1) > 0);
    unsigned lists = heap->hole_lists;
    CHECK(lists > 0 && heap->hole_next != NULL);
    end_epoch(heap);
    CHECK(heap->hole_lists > lists && heap->hole_next == NULL);
    CHECK(hk_heap_hole_purge(heap, 1) > 0);
    const hk_slab_t *next = heap->hole_next;
    end_epoch(heap); /* but that one is not begun again */
    CHECK(heap->hole_next == next);
    hk_heap_delete(heap);
}

int main(void)
{
    test_bounded();
    test_makes_way();
    if (hk_os_page_bytes() == 4096) {
        test_lists_change(HK_UNIT_BYTES / 4096);
        test_all(HK_UNIT_BYTES / 4096);
        test_idle(HK_UNIT_BYTES / 4096);
    }
    return 0;
}
