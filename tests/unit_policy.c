/*
 * The policy: its bounds, and that larger arguments never give smaller results.
 */
#include "test.h"

#include "epoch.h"
#include "policy.h"

#include "magazine.h"
#include "sizeclass.h"

/* ---- The table of classes, worked out in plain words ---- */

static unsigned blocks_in(uint32_t all_bytes, uint32_t block_bytes)
{
    unsigned blocks = all_bytes / block_bytes;
    unsigned most = hk_magazine_capacity(HK_MAGAZINE_KINDS - 1);
    return blocks < HK_MAGAZINE_BLOCKS_MIN ? HK_MAGAZINE_BLOCKS_MIN : blocks > most ? most : blocks;
}

static unsigned magazine_kind(uint32_t block_bytes)
{
    unsigned kind = 0;
    while (hk_magazine_capacity(kind) < blocks_in(HK_MAGAZINE_BYTES, block_bytes)) {
        kind++;
    }
    return kind;
}

static unsigned cold_uses(uint32_t block_bytes)
{
    return 4 + block_bytes / 1024;
}

static void check_magazines(void)
{
    for (unsigned kind = 0; kind < HK_MAGAZINE_KINDS; kind++) {
        size_t words = hk_magazine_capacity(kind) + 1; /* the slots and the end */
        size_t used = sizeof(hk_magazine_t) + words * sizeof(void *);
        CHECKF(used == hk_magazine_bytes(kind), " (kind %u)", kind);
        CHECKF(kind == 0 || hk_magazine_bytes(kind) == 2 * hk_magazine_bytes(kind - 1),
               " (kind %u)", kind);
    }
    unsigned most = hk_magazine_capacity(HK_MAGAZINE_KINDS - 1);
    unsigned before = UINT32_MAX;
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        uint32_t bytes = hk_class_info[class_index].block_bytes;
        const hk_policy_class_t *policy = &hk_policy_class[class_index];
        unsigned blocks = policy->magazine_blocks;
        unsigned kind = policy->magazine_kind;
        CHECKF(blocks == blocks_in(HK_MAGAZINE_BYTES, bytes), " (%u bytes: %u)", bytes, blocks);
        CHECKF(policy->load_blocks == blocks_in(HK_LOAD_BYTES, bytes), " (%u bytes)", bytes);
        CHECKF(kind == magazine_kind(bytes), " (%u bytes: kind %u)", bytes, kind);
        CHECKF(policy->cold_uses == cold_uses(bytes), " (%u)", bytes);
        CHECKF(blocks >= 2 && blocks <= most && blocks <= before, " (%u bytes: %u)", bytes, blocks);
        /* What one magazine keeps from everyone else. */
        CHECKF(blocks * bytes <= 256 * 1024, " (%u bytes: %u)", bytes, blocks);
        CHECKF(kind < HK_MAGAZINE_KINDS && hk_magazine_capacity(kind) >= blocks, " (%u: kind %u)",
               bytes, kind);
        before = blocks;
    }
    CHECK(hk_policy_class[0].magazine_blocks == most);
    CHECK(hk_policy_class[HK_CLASS_COUNT - 1].magazine_blocks == 4);
    CHECK(hk_policy_class[HK_CLASS_COUNT - 1].load_blocks == 2);
    /* The pool gets a 16th of a heap first, and neither little nor much. */
    CHECK(hk_policy_given_units(0) == 16 && hk_policy_given_units(320) == 20);
    CHECK(hk_policy_given_units(2048) == 128 && hk_policy_given_units(SIZE_MAX) == 128);
    CHECK(!hk_policy_is_crowded(8, 2) && hk_policy_is_crowded(9, 2));
    CHECK(!hk_policy_is_crowded(17, 16) && hk_policy_is_crowded(18, 16));
    CHECK(hk_policy_class[HK_CLASS_COUNT - 1].cold_uses == 68);
}

static void check_end(void)
{
    CHECK(hk_policy_end_keep_bytes(100 * MIB, HK_END_BYTES - 1) == HK_END_BYTES - 1);
    CHECK(hk_policy_end_keep_bytes(100 * MIB, 100 * MIB) == HK_LINGER_BYTES_MIN);
    CHECK(hk_policy_end_keep_bytes(100 * MIB, 70 * MIB) == 10 * MIB);
    CHECK(hk_policy_end_keep_bytes(100 * MIB, 10 * MIB) == 10 * MIB);
    CHECK(hk_policy_end_keep_bytes(MIB, 8 * MIB) == HK_LINGER_BYTES_MIN); /* read at two times */
}

static void check_heaps(void)
{
    unsigned before = 0;
    for (unsigned cpus = 1; cpus <= 8192; cpus++) {
        unsigned heaps = hk_policy_heaps_max(cpus);
        CHECKF(heaps >= cpus && heaps >= before, " (%u processors: %u)", cpus, heaps);
        before = heaps;
    }
}

/* 1 MiB of empty slabs and 1 MiB of free runs stay at hand, of the latter in all parts together. */
static void check_at_hand(void)
{
    CHECK(HK_KEPT_UNITS == 16);
    CHECK(hk_policy_kept_run_bytes(1) == MIB && hk_policy_kept_run_bytes(4) == MIB / 4);
    for (uint32_t parts = 1; parts <= HK_PARTS; parts++)
        CHECK(parts * hk_policy_kept_run_bytes(parts) <= MIB);
    CHECK(hk_above(16, 16) == 0 && hk_above(17, 16) == 1);
    CHECK(hk_above(0, 16) == 0 && hk_above(SIZE_MAX, 16) == SIZE_MAX - 16);
}

static void check_runs(void)
{
    size_t before = 0;
    for (size_t mapped = 0; mapped <= 256 * MIB; mapped += MIB / 2) {
        size_t area = hk_policy_area_bytes(mapped);
        CHECKF(area >= 4 * MIB && area <= 64 * MIB && area % (2 * MIB) == 0, " (%zu: %zu)", mapped,
               area);
        CHECKF(area >= before, " (%zu: %zu)", mapped, area);
        CHECKF(area == 4 * MIB || area <= mapped, " (%zu: %zu)", mapped,
               area); /* at most doubles */
        before = area;
    }
    CHECK(before == 64 * MIB && hk_policy_area_bytes(SIZE_MAX) == 64 * MIB);
    CHECK(hk_policy_parts(1) == 1 && hk_policy_parts(2) == 2);
    CHECK(hk_policy_parts(4096) == HK_PARTS);
}

/* Depots hold so much in any case, and more only beside large heaps. */
static void check_depots(size_t least)
{
    CHECK(hk_policy_depot_bytes(0) == least);
    size_t before = 0;
    for (size_t slabs = 0; slabs <= 4096 * MIB; slabs += MIB) {
        size_t depots = hk_policy_depot_bytes(slabs);
        CHECKF(depots >= before, " (%zu: %zu)", slabs, depots);
        CHECKF(depots == least || depots <= slabs / 16, " (%zu: %zu)", slabs, depots);
        before = depots;
    }
}

static void check_kept(void)
{
    CHECK(hk_policy_large_kept_bytes(0) == 96 * MIB);
    CHECK(hk_policy_large_kept_bytes(SIZE_MAX) >= SIZE_MAX / 2);
    size_t before = 0;
    for (size_t used = 0; used <= 1024 * MIB; used += MIB / 2) {
        size_t kept = hk_policy_large_kept_bytes(used);
        CHECKF(kept >= before, " (%zu: %zu)", used, kept);
        CHECKF(kept <= 96 * MIB || kept <= used, " (%zu: %zu)", used, kept);
        before = kept;
    }
    CHECK(hk_policy_shelf_waste_pages(15) == 0 && hk_policy_shelf_waste_pages(17) == 1);
    CHECK(hk_policy_shelves_bytes(0, 0) == 4 * MIB);
    CHECK(hk_policy_shelves_bytes(1024 * MIB, 0) == 64 * MIB);
    CHECK(hk_policy_shelves_bytes(10 * MIB, 16 * MIB) == MIB);
    CHECK(hk_policy_shelves_bytes(1024 * MIB, 2048 * MIB) == 64 * MIB);
    CHECK(hk_policy_rest_bytes(0, false) == 8 * MIB && hk_policy_rest_bytes(0, true) == 0);
    CHECK(hk_policy_rest_bytes(1024 * MIB, false) == 32 * MIB);
    CHECK(hk_policy_rest_bytes(1024 * MIB, true) == 32 * MIB);
    check_depots(MIB / 2);
    CHECK(hk_policy_empty_superslabs(0) == 1);
    CHECK(hk_policy_empty_superslabs(1) == 1);
    uint32_t most = 0;
    for (uint64_t superslabs = 0; superslabs < 100000; superslabs++) {
        uint32_t empty = hk_policy_empty_superslabs(superslabs);
        CHECKF(empty >= 1 && empty >= most, " (%llu: %u)", (unsigned long long)superslabs, empty);
        CHECKF(empty == 1 || empty <= superslabs / 8, " (%llu: %u)", (unsigned long long)superslabs,
               empty);
        most = empty;
    }
}

static void check_caps(void)
{
    for (uint64_t cap = HK_CAP_UNITS_MIN; cap < 1 << 20; cap += 1 + cap / 7) {
        for (uint64_t used = 0; used <= cap; used += 1 + cap / 31) {
            uint64_t raise = hk_policy_cap_raise(cap, used);
            /* Either reclaiming brought enough to go on with, or the cap rises in proportion. */
            CHECKF(raise != 0 ? raise >= cap / 2 && raise >= HK_CAP_UNITS_MIN
                              : used + cap / 8 < cap,
                   " (%d of %d: %d)", (int)used, (int)cap, (int)raise);
        }
        CHECKF(hk_policy_cap_raise(cap, 0) == 0, " (%d)", (int)cap);
        /* A share falls to what is used, with headroom, and not below; half-way each time, and all
         * the way in the end. */
        for (uint64_t used = 0; used <= cap; used += 1 + cap / 31) {
            uint64_t raised = cap;
            for (unsigned step = 0; step < 64; step++) {
                uint64_t lower = hk_policy_cap_lower(raised, used);
                CHECKF(lower == 0 || raised - lower >= used + used / 2, " (%d, %d)", (int)raised,
                       (int)used);
                CHECKF(lower <= raised / 2 + 1, " (%d, %d)", (int)raised, (int)used);
                raised -= lower;
            }
            CHECKF(raised <= used + used / 2 || raised == cap, " (%d of %d)", (int)raised,
                   (int)cap);
        }
    }
}

static void check_house(void)
{
    CHECK(hk_policy_house_ms(0, HK_DECAY_MS, 0) >=
          HK_DECAY_MS); /* an epoch has passed, or a round does nothing */
    uint64_t period = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t next = hk_policy_house_ms(period, HK_DECAY_MS, 0);
        CHECK(next >= period && next <= 4000);
        CHECK(hk_policy_house_ms(next, HK_DECAY_MS, 1) == hk_policy_house_ms(0, HK_DECAY_MS, 0));
        period = next;
    }
    CHECK(period == 4000);
}

static void check_pages(void)
{
    for (uint64_t mode = 0; mode <= 2; mode++) {
        CHECK(hk_policy_pages(mode, 0) == HK_PAGES_SMALL);
        CHECK(hk_policy_pages(mode, 31) == HK_PAGES_SMALL);
    }
    CHECK(hk_policy_pages(0, UINT64_MAX) == HK_PAGES_SMALL);
    CHECK(hk_policy_pages(1, 32) == HK_PAGES_SYSTEM);
    CHECK(hk_policy_pages(2, 32) == HK_PAGES_HUGE);
}

/* A peak of what is committed counts unless most of that was never touched. */
static void check_sparse_peak(void)
{
    CHECK(!hk_policy_is_sparse_peak(1024 * MIB, 0)); /* the system does not say */
    CHECK(!hk_policy_is_sparse_peak(1024 * MIB, 1024 * MIB));
    CHECK(!hk_policy_is_sparse_peak(1024 * MIB, 256 * MIB));
    CHECK(hk_policy_is_sparse_peak(1024 * MIB, 255 * MIB));
    CHECK(hk_policy_is_sparse_peak(1024 * MIB, 1));
}

static void check_dense(void)
{
    for (uint64_t mode = 0; mode <= 2; mode++) {
        CHECK(!hk_policy_wants_dense(mode, 31, 0)); /* 64 MiB at least */
        CHECK(hk_policy_wants_dense(mode, 32, 0) == (mode != 0));
        CHECK(hk_policy_wants_dense(mode, UINT64_MAX, 8191) == (mode != 0));
        CHECK(!hk_policy_wants_dense(mode, UINT64_MAX, 8192)); /* a quarter of the mappings */
    }
    CHECK(hk_policy_is_dense(2 * MIB) && hk_policy_is_dense(2 * MIB / 8 * 7));
    CHECK(!hk_policy_is_dense(2 * MIB / 8 * 7 - 1) && !hk_policy_is_dense(0));
    /* 31 units of the least well-filled small blocks can be dense. */
    size_t least = SIZE_MAX;
    for (unsigned i = 0; i < HK_CLASS_COUNT; i++) {
        const hk_class_info_t *info = &hk_class_info[i];
        size_t bytes = (size_t)info->block_bytes * info->block_count;
        size_t units = (bytes + 65535) / 65536;
        if (info->block_bytes <= HK_DENSE_BLOCK_BYTES && bytes * 31 / units < least)
            least = bytes * 31 / units;
    }
    CHECKF(hk_policy_is_dense(least), " (%zu)", least);
}

/* At a peak: what may be free in all, and of that in empty slabs. */
static void check_warm(void)
{
    for (size_t committed = 0; committed <= 4096 * MIB; committed += 3 * MIB) {
        size_t all = hk_policy_warm_bytes(committed);
        size_t slabs = hk_policy_warm_slab_bytes(committed);
        CHECKF(all <= committed / 3 && slabs <= all / 2, " (%zu: %zu, %zu)", committed, all, slabs);
        CHECKF(committed == 0 || slabs > 0, " (%zu)", committed);
        size_t stock = hk_policy_stock_bytes(committed);
        CHECKF(stock < all || committed == 0, " (%zu: %zu of %zu)", committed, stock, all);
        size_t beside = hk_policy_warm_beside_bytes(committed);
        CHECKF(beside <= slabs && hk_policy_beside_bytes(committed) > beside, " (%zu)", committed);
    }
}

static void check_holes(void)
{
    CHECK(!hk_policy_wants_holes(4 * MIB, 2 * MIB)); /* not worth the calls */
    CHECK(!hk_policy_wants_holes(104 * MIB, 13 * MIB));
    CHECK(hk_policy_wants_holes(104 * MIB, 13 * MIB + 1));
    CHECK(!hk_policy_wants_holes_at_peak(4 * MIB, 2 * MIB));
    CHECK(!hk_policy_wants_holes_at_peak(100 * MIB, 25 * MIB));
    CHECK(hk_policy_wants_holes_at_peak(100 * MIB, 25 * MIB + 1));
}

static void check_roomy(void)
{
    CHECK(!hk_policy_is_roomy(2 * MIB, MIB)); /* not worth the move */
    CHECK(hk_policy_is_roomy(2 * MIB, MIB + 1));
    CHECK(!hk_policy_is_roomy(104 * MIB, 13 * MIB));
    CHECK(hk_policy_is_roomy(104 * MIB, 13 * MIB + 1));
}

/* One portion for each so long that a thread was away. */
static void test_portion(void)
{
    const size_t portion = HK_PORTION_BYTES;
    CHECK(hk_policy_portion_bytes(1, 0) == portion);
    CHECK(hk_policy_portion_bytes(1, 2 * HK_PORTION_IDLE_MS - 1) == portion);
    CHECK(hk_policy_portion_bytes(1, 2 * HK_PORTION_IDLE_MS) == 2 * portion);
    CHECK(hk_policy_portion_bytes(1, HK_PORTIONS_MAX * HK_PORTION_IDLE_MS) ==
          HK_PORTIONS_MAX * portion);
    CHECK(hk_policy_portion_bytes(1, UINT64_MAX) == HK_PORTIONS_MAX * portion);
    CHECK(hk_policy_portion_bytes(0, 0) == portion);
    CHECK(hk_policy_portion_bytes(2, 0) == HK_PORTIONS_MAX * portion);
}

int main(void)
{
    test_portion();
    check_pages();
    check_dense();
    check_magazines();
    check_end();
    check_heaps();
    check_at_hand();
    check_runs();
    check_kept();
    check_sparse_peak();
    check_warm();
    check_holes();
    check_roomy();
    check_caps();
    check_house();
    return 0;
}
