/*
 * Occupancy: what the slabs of a class hold, to the byte, and which classes a report names.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fork_elsewhere.h"
#include "heap_hole.h"
#include "occupancy.h"
#include "os.h"

enum { SLABS = 64, LEFT = 2, CLASS_BYTES = 4096, MOST_BLOCKS = SLABS * 64 };

static void *blocks[MOST_BLOCKS];

static const hk_occupancy_class_t *look(size_t block_bytes)
{
    static hk_occupancy_t occupancy;
    hk_occupancy_collect(&occupancy);
    uint64_t free_bytes = 0;
    for (unsigned i = 0; i < HK_CLASS_COUNT; i++) {
        const hk_occupancy_class_t *class = &occupancy.classes[i];
        CHECK(class->block_bytes == hk_class_info[i].block_bytes);
        CHECK(class->free_bytes <= class->slab_bytes);
        CHECK(class->empty_bytes + class->hole_bytes <= class->free_bytes);
        free_bytes += class->free_bytes;
    }
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, offsetof(hak_stats_t, live_bytes)) == 0);
    CHECKF(free_bytes == stats.slab_free_bytes, " (%llu, %llu)", (unsigned long long)free_bytes,
           (unsigned long long)stats.slab_free_bytes);
    return &occupancy.classes[hk_class_of(block_bytes)];
}

#define CHECK_CLASS(slabs, free, empty, hole)                                                      \
    do {                                                                                           \
        const hk_occupancy_class_t *class = look(CLASS_BYTES);                                     \
        CHECKF(class->slab_bytes == before.slab_bytes + (slabs), " (%llu)",                        \
               (unsigned long long)class->slab_bytes);                                             \
        CHECKF(class->free_bytes == before.free_bytes + (free), " (%llu)",                         \
               (unsigned long long)class->free_bytes);                                             \
        CHECKF(class->empty_bytes == before.empty_bytes + (empty), " (%llu)",                      \
               (unsigned long long)class->empty_bytes);                                            \
        CHECKF(class->hole_bytes == before.hole_bytes + (hole), " (%llu)",                         \
               (unsigned long long)class->hole_bytes);                                             \
    } while (0)

/* A heap of its own, from full slabs to none. */
static void test_figures(void)
{
    const hk_occupancy_class_t before = *look(CLASS_BYTES);
    hk_heap_t *heap = hk_heaps_create();
    CHECK(heap != NULL);
    unsigned class_index = hk_class_of(CLASS_BYTES);
    unsigned count = hk_class_info[class_index].block_count;
    size_t slab_bytes = (size_t)count * CLASS_BYTES;
    CHECK(SLABS * count <= MOST_BLOCKS);
    for (unsigned i = 0; i < SLABS * count; i++)
        CHECK((blocks[i] = hk_heap_take_block(heap, class_index)) != NULL);
    CHECK_CLASS(SLABS * slab_bytes, 0, 0, 0);
    for (unsigned i = 0; i < SLABS * count; i++)
        if (i % count >= LEFT)
            hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    size_t free_bytes = SLABS * (slab_bytes - (size_t)LEFT * CLASS_BYTES);
    CHECK_CLASS(SLABS * slab_bytes, free_bytes, 0, 0);
    size_t hole_bytes = hk_heap_hole_purge_all(heap);
    CHECK(hole_bytes == (hk_os_page_bytes() == CLASS_BYTES ? free_bytes : hole_bytes));
    CHECK_CLASS(SLABS * slab_bytes, free_bytes, 0, hole_bytes);
    for (unsigned i = 0; i < SLABS * count; i++)
        if (i % count < LEFT)
            hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    /* Empty slabs' holes count as empty slabs. */
    size_t kept = hk_heap_empty_units(heap) * HK_UNIT_BYTES;
    CHECK(kept > 0);
    CHECK_CLASS(kept, kept, kept, 0);
    CHECK(hk_heaps_remove(heap));
    hk_heap_delete(heap);
    CHECK_CLASS(0, 0, 0, 0);
}

/* Nobody can look then. */
static void test_fork_under_way(void)
{
    static hk_occupancy_t occupancy;
    pthread_t forker = fork_begin();
    hk_occupancy_collect(&occupancy);
    fork_end(forker);
    for (unsigned i = 0; i < HK_CLASS_COUNT; i++) {
        const hk_occupancy_class_t *class = &occupancy.classes[i];
        CHECK(class->block_bytes == hk_class_info[i].block_bytes);
        CHECK(class->slab_bytes + class->free_bytes + class->empty_bytes + class->hole_bytes == 0);
    }
}

static hk_occupancy_t made_up;

static void make_class(unsigned class_index, uint64_t free, uint64_t empty, uint64_t hole)
{
    made_up.classes[class_index] = (hk_occupancy_class_t){
        .slab_bytes = 100 * MIB, .free_bytes = free, .empty_bytes = empty, .hole_bytes = hole};
}

static void expect_worst(uint64_t committed, unsigned count, const unsigned *expected)
{
    unsigned worst[HK_OCCUPANCY_WORST_MAX + 1] = {[HK_OCCUPANCY_WORST_MAX] = 4711};
    unsigned found = hk_occupancy_find_worst(&made_up, committed, worst);
    CHECKF(found == count, " (%u, %u)", found, count);
    for (unsigned i = 0; i < count; i++)
        CHECKF(worst[i] == expected[i], " (%u: %u, %u)", i, worst[i], expected[i]);
    CHECK(worst[HK_OCCUPANCY_WORST_MAX] == 4711);
}

static void test_worst(void)
{
    made_up = (hk_occupancy_t){0};
    expect_worst(0, 0, NULL);
    /* From 1 MiB and 5 % on. */
    make_class(7, MIB - 1, 0, 0);
    expect_worst(0, 0, NULL);
    make_class(7, MIB, 0, 0);
    expect_worst(20 * MIB, 1, (const unsigned[]){7});
    expect_worst(21 * MIB, 0, NULL);
    /* Only what lies between live blocks counts. */
    make_class(8, 50 * MIB, 30 * MIB, 20 * MIB);
    make_class(9, 50 * MIB, 25 * MIB, 20 * MIB);
    expect_worst(100 * MIB, 2, (const unsigned[]){9, 7});
    /* The sum counts; five at most, the worst first, equal ones in the order of their sizes. */
    make_class(1, 2 * MIB, 0, 0);
    make_class(2, 3 * MIB, 0, 0);
    make_class(3, 2 * MIB, 0, 0);
    make_class(HK_CLASS_COUNT - 1, 9 * MIB, 0, 0);
    expect_worst(400 * MIB, 5, (const unsigned[]){HK_CLASS_COUNT - 1, 9, 2, 1, 3});
    expect_worst(500 * MIB, 0, NULL);
    /* Less than a hundredth of the sum explains nothing. */
    make_class(0, 1000 * MIB, 0, 0);
    make_class(9, 11 * MIB, 0, 0);
    expect_worst(1100 * MIB, 2, (const unsigned[]){0, 9});
    /* Spread as evenly as can be, some are still named. */
    for (unsigned i = 0; i < HK_CLASS_COUNT; i++)
        make_class(i, MIB, 0, 0);
    expect_worst(100 * MIB, 5, (const unsigned[]){0, 1, 2, 3, 4});
}

int main(void)
{
    test_figures();
    test_fork_under_way();
    test_worst();
    CHECK(hak_check() == 0);
    return 0;
}
