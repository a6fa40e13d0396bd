/*
 * The parts of the Shared Pool: that a heap which grows, or waits again and again, moves to the
 * part that fewest heaps use, and one that has its part to itself stays; that a slab goes back to
 * where it came from; that what is free in one part serves all before the process grows; and that
 * all parts give back.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "cap.h"
#include "fake_os.h"
#include "heap.h"
#include "hold_up.h"
#include "pool_part.h"

/* A class with slabs of one unit, and blocks of which few fill one. */
enum { UNITS = HK_SLAB_UNITS_MAX, MOST = 20 * UNITS };

static unsigned class_index;
static hk_pool_t *const first = hk_pool_parts, *const second = hk_pool_parts + 1;

/* ---- Slabs for heaps ---- */

static hk_heap_t *new_heap(uint16_t owner)
{
    hk_heap_t *heap = hk_heap_new(owner, hk_pool_parts);
    CHECK(heap != NULL);
    hk_pool_part_join();
    return heap;
}

typedef struct blocks {
    hk_heap_t *heap;
    void *block[MOST * 64];
    size_t count;
} blocks_t;

/* Grows the heap by slabs, all of whose blocks are taken. */
static void grow(blocks_t *blocks, size_t slabs)
{
    size_t count = slabs * hk_class_info[class_index].block_count;
    for (size_t i = 0; i < count; i++) {
        CHECK(blocks->count < TEST_COUNT(blocks->block));
        void *block;
        while ((block = hk_heap_take_block(blocks->heap, class_index)) == NULL)
            CHECK(hk_cap_is_reached(class_index) && hk_cap_give_way(class_index));
        blocks->block[blocks->count++] = block;
    }
}

static void free_all(blocks_t *blocks)
{
    while (blocks->count > 0)
        hk_heap_put_any(blocks->block[--blocks->count]);
    hk_heap_reclaim(blocks->heap, SIZE_MAX);
    CHECK(hk_heap_units(blocks->heap) == 0);
}

static hk_pool_t *part_of(const void *block)
{
    return hk_superslab_find(block)->pool;
}

static void trim_all(void)
{
    (void)hk_pool_part_purge(0, 0);
    CHECK(hk_pool_part_warm_bytes() == 0 && hk_cap_used_units(class_index) == 0);
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;)
        CHECK(part->used_units == 0 && part->superslabs == 0 && !hk_lock_is_held(&part->lock));
}

/* ---- Which part ---- */

static blocks_t one, two, three;

static void test_growth(void)
{
    one.heap = new_heap(1);
    grow(&one, 2 * UNITS);
    CHECK(one.heap->pool == first && first->used_units == 2 * UNITS); /* alone, it stays */
    CHECK(hk_pool_part_next(NULL) == first && hk_pool_part_next(first) == NULL);
    two.heap = new_heap(2);
    grow(&two, UNITS);
    CHECK(two.heap->pool == first); /* not before it has a superslab's worth */
    grow(&two, 1);
    CHECK(two.heap->pool == second && part_of(two.block[two.count - 1]) == second);
    CHECK(hk_pool_part_next(first) == second && hk_pool_part_next(second) == NULL);
    CHECK(first->used_units == 3 * UNITS && second->used_units == 1);
    grow(&one, 1);
    CHECK(one.heap->pool == first);
    three.heap = new_heap(3);
    grow(&three, UNITS + 1);
    CHECK(three.heap->pool == first); /* of two parts neither has fewer */
    free_all(&one);
    free_all(&two);
    CHECK(two.heap->pool == second && second->used_units == 0 &&
          first->used_units == UNITS + 1); /* each went back to where it came from */
    free_all(&three);
    trim_all();
}

/* ---- A heap that waits again and again ---- */

static bool take_once(void *argument)
{
    hk_heap_t *heap = argument;
    void *block = hk_heap_take_block(heap, class_index);
    CHECK(block != NULL);
    hk_heap_put_any(block);
    hk_heap_reclaim(heap, SIZE_MAX);
    return heap->pool != first;
}

/* One, three and four use the first part, and two the second. */
static void test_strain(void)
{
    hk_heap_t *four = new_heap(4);
    grow(&one, 1);
    free_all(&one);
    CHECK(first->warm_units > 0);
    int turns = hold_up(&first->lock, HK_RANK_POOL, take_once, four);
    CHECKF(turns >= 2 && turns < TURNS, " (%d)", turns);
    CHECK(four->pool == second && four->pool_strain == 0);
    four->pool_strain = HK_STRAIN_MAX; /* nowhere it would be better off */
    void *block = hk_heap_take_block(four, class_index);
    CHECK(four->pool == second && four->pool_strain == 0);
    hk_heap_put_any(block);
    hk_heap_reclaim(four, SIZE_MAX);
    trim_all();
}

/* ---- Two parts ---- */

/* What two has left in the second part is used before one grows in the first. */
static void test_serves_all(void)
{
    grow(&two, 4);
    grow(&one, 1);
    CHECK(two.heap->pool == second && second->used_units == 4 && first->used_units == 1);
    free_all(&two);
    CHECK(second->warm_units == 4);
    grow(&one, 4);
    CHECK(one.heap->pool == first && second->used_units == 4 && first->used_units == 1);
    grow(&one, 1);
    CHECK(first->used_units == 2 && first->acquires[HK_STAGE_UNUSED] > 0 && hak_check() == 0);
    /* A part whose lock is held is passed over. */
    free_all(&one);
    (void)hk_pool_purge(first, 0, 1);
    CHECK(first->warm_units == 0 && second->warm_units == 4);
    hk_lock_t *lock = &second->lock;
    lock->state = 1;
    grow(&one, 1);
    lock->state = 0;
    CHECK(part_of(one.block[0]) == first && second->warm_units == 4);
    free_all(&one);
    trim_all();
}

/* Without memory for a superslab, unused units of another part serve. */
static void test_last_resort(void)
{
    grow(&one, UNITS);
    grow(&two, 1);
    CHECK(first->used_units == UNITS && second->used_units == 1);
    fake_os_fail_after(0);
    grow(&one, UNITS - 1);
    CHECK(second->used_units == UNITS && hk_heap_take_block(one.heap, class_index) == NULL);
    CHECK(hk_heap_take_block(two.heap, class_index) == NULL && !hk_cap_is_reached(class_index));
    fake_os_heal();
    grow(&one, 1);
    CHECK(first->used_units == UNITS + 1 && first->superslabs == 2);
    free_all(&one);
    free_all(&two);
    trim_all();
}

/* The part that has most gives first, and of all no more than asked. */
static void test_gives_back(void)
{
    grow(&one, 3);
    grow(&two, 9);
    free_all(&one);
    free_all(&two);
    CHECK(first->warm_units == 3 && second->warm_units == 9);
    CHECK(hk_pool_part_warm_bytes() == 12 * HK_UNIT_BYTES);
    CHECK(hk_pool_part_purge(SIZE_MAX, 0) == 0 && hk_pool_part_purge(12 * HK_UNIT_BYTES, 0) == 0);
    CHECK(hk_pool_part_purge(8 * HK_UNIT_BYTES - 1, 1) == 4 * HK_UNIT_BYTES); /* whole units */
    CHECK(first->warm_units == 3 && second->warm_units == 5 && hak_check() == 0);
    CHECK(hk_pool_part_purge(2 * HK_UNIT_BYTES, 1) == 6 * HK_UNIT_BYTES);
    CHECK(hk_pool_part_warm_bytes() == 2 * HK_UNIT_BYTES && second->warm_units == 0);
    CHECK(first->superslabs == 1 && first->warm_units == 2 && second->superslabs == 1);
    /* Of superslabs to be kept each part keeps its share. */
    grow(&two, UNITS + 3); /* two of them out of the first part */
    free_all(&two);
    CHECK(first->warm_units == 2 && second->superslabs == 2);
    CHECK(hk_pool_part_purge(2 * HK_UNIT_BYTES, 2) == (UNITS + 1) * HK_UNIT_BYTES);
    CHECK(first->superslabs == 1 && second->superslabs == 1);
    trim_all();
}

/* At most `most` bytes go, and the budget falls by what was to go. */
static size_t maintain_by(size_t most)
{
    size_t before = hk_pool_part_warm_bytes(), left = most;
    size_t excess = hk_pool_part_maintain(fake_os.clock_ms, &left);
    CHECK(left <= most && before - hk_pool_part_warm_bytes() == most - left);
    return excess;
}

static void maintain(void)
{
    size_t excess = 1;
    for (int i = 0; i < 40 && excess > 0; i++)
        excess = maintain_by(HK_PORTION_BYTES);
    CHECK(excess == 0 || maintain_by(HK_PORTION_BYTES) == excess);
    CHECK(maintain_by(0) == excess);
}

/* What no part needed in an epoch goes, a step's worth at a time, from the part that has most. */
static void test_maintain(void)
{
    grow(&one, 2 * UNITS);
    grow(&two, 3 * UNITS);
    free_all(&one);
    free_all(&two);
    fake_os_advance(HK_DECAY_MS);
    (void)maintain_by(HK_DECAY_STEP_BYTES); /* in this epoch they were needed */
    CHECK(hk_pool_part_warm_bytes() == 5 * UNITS * HK_UNIT_BYTES);
    fake_os_advance(HK_DECAY_MS);
    maintain();
    CHECK(hk_pool_part_warm_bytes() == HK_KEPT_UNITS * HK_UNIT_BYTES);
    trim_all();
}

/* Two heaps that need as much, by turns and faster than an epoch: that much stays, and not as much
 * in each part. */
static void test_turns(void)
{
    uint32_t needed = 2 * UNITS, kept = HK_KEPT_UNITS;
    grow(&one, needed);
    grow(&two, needed);
    free_all(&one);
    free_all(&two);
    CHECK(first->warm_units == needed && second->warm_units == needed);
    uint64_t purged = 0;
    for (int i = 0; i < 40; i++) {
        blocks_t *blocks = i % 2 == 0 ? &one : &two;
        grow(blocks, needed);
        (void)maintain_by(HK_DECAY_STEP_BYTES);
        free_all(blocks);
        fake_os_advance(HK_DECAY_MS / 5);
        (void)maintain_by(HK_DECAY_STEP_BYTES); /* which may end the epoch */
        purged = i < 20 ? first->purged_units + second->purged_units : purged;
    }
    CHECK(purged == first->purged_units + second->purged_units); /* nothing comes and goes */
    size_t warm = hk_pool_part_warm_bytes() / HK_UNIT_BYTES;
    CHECKF(warm >= needed && warm <= needed + kept, " (%zu)", warm);
    trim_all();
}

/* Of full superslabs those of one part are looked at in one step. */
static void test_dense_by_turns(void)
{
    grow(&one, 17 * UNITS); /* 32 are enough for a look */
    grow(&two, 17 * UNITS);
    uint64_t looks[2] = {first->look_ms, second->look_ms};
    fake_os_advance(2 * HK_DENSE_LOOK_MS);
    for (int steps = 1; steps <= 2; steps++) {
        (void)maintain_by(HK_DECAY_STEP_BYTES);
        int looked = (first->look_ms != looks[0]) + (second->look_ms != looks[1]);
        CHECKF(looked == steps, " (%d)", looked);
    }
    free_all(&one);
    free_all(&two);
    trim_all();
}

/* What a first-class heap counted stays counted when it goes. */
static void test_inherit(void)
{
    uint64_t new = first->acquires[HK_STAGE_NEW], purged = first->purged_units;
    hk_heap_t *owned = hk_heap_new(HK_OWNER_NONE, NULL);
    CHECK(owned != NULL && !hk_pool_is_part(owned->pool) && hk_pool_is_part(one.heap->pool));
    void *block = hk_heap_take_block(owned, class_index);
    CHECK(block != NULL && hk_cap_used_units(class_index) == 0); /* it has no caps */
    CHECK(part_of(block) == owned->pool);
    hk_heap_put_any(block);
    hk_heap_reclaim(owned, SIZE_MAX);
    CHECK(owned->pool->used_units == 0 && hk_cap_used_units(class_index) == 0);
    hk_heap_delete(owned);
    CHECK(first->acquires[HK_STAGE_NEW] == new + 1 && first->purged_units == purged + 1);
    trim_all();
}

int main(void)
{
    while (hk_class_info[class_index].units != 1 || hk_class_info[class_index].block_count > 64)
        class_index++;
    fake_os.cpu_count = 2; /* there are two parts */
    test_growth();
    test_strain();
    test_serves_all();
    test_last_resort();
    test_gives_back();
    test_maintain();
    test_turns();
    test_dense_by_turns();
    test_inherit();
    CHECK(hak_check() == 0);
    return 0;
}
