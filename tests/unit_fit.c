/*
 * Fitted classes: when one is made, and that from then on every size, alignment and offset has the class that it should.
 */
#include "test.h"

#include "cap.h"
#include "fit.h"
#include "policy.h"

static hk_fit_vote_t votes[HK_FIT_CLASSES];

static uint32_t bytes_of(unsigned class_index)
{
    return hk_class_info[class_index].block_bytes;
}

/* Makes the class hold so many units, as far as its cap may be raised. */
static void charge(unsigned class_index, unsigned units)
{
    for (unsigned i = 0; i < units; i++)
        while (!hk_cap_charge(class_index, 1))
            CHECK(hk_cap_give_way(class_index));
}

static void vote(size_t size, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        hk_fit_vote(votes, hk_class_of(size), size);
}

/* Of a class that is small, of sizes that take turns, and of sizes that waste nothing, however often they are asked for. */
static void check_none(void)
{
    vote(4112, 1000);
    CHECK(hk_fit_count() == 0);
    charge(hk_class_of(4112), 1000);
    for (unsigned i = 0; i < 10000; i++)
        vote(4112 + i % 2 * 64, 1);
    CHECK(hk_fit_count() == 0);
    charge(hk_class_of(8192), 1000);
    vote(8192, 1000);
    vote(8192 - 16, 1000);
    charge(0, 1000);
    vote(0, 1000);
    vote(1, 1000);
    charge(hk_class_of(250), 1000);
    vote(250, 1000);
    CHECK(hk_fit_count() == 0);
    CHECK(!hk_fit_make(0, 8) && !hk_fit_make(hk_class_of(250), 244));
    CHECK(!hk_fit_make(hk_class_of(8192), 8192) && !hk_fit_make(hk_class_of(8192), 8190));
    CHECK(hk_fit_of(hk_class_of(4112)) == HK_CLASS_COUNT && hk_fit_count() == 0);
}

/* A size that is asked for two times in three is far ahead soon. */
static void check_majority(void)
{
    unsigned base = hk_class_of(4112);
    for (unsigned i = 0; i < 1000 && hk_fit_count() == 0; i++)
        vote(i % 3 == 0 ? 4500 : 4112, 1);
    CHECK(hk_fit_count() == 1);
    unsigned fitted = hk_fit_of(base);
    CHECK(fitted >= HK_BASE_CLASSES && fitted < HK_CLASS_COUNT && bytes_of(fitted) == 4160);
    CHECK(hk_class_of(4112) == fitted && hk_class_of(4097) == fitted &&
          hk_class_of(4160) == fitted);
    CHECK(hk_class_of(4161) == base && hk_class_of(4096) == base - 1);
    CHECK(hk_class_base_of(fitted) == base && hk_class_base_of(base) == base);
    CHECK(hk_fit_of(fitted) == HK_CLASS_COUNT);
    vote(4112, 100);
    vote(4500, 100);
    CHECK(hk_fit_count() == 1 && !hk_fit_make(base, 4300)); /* one below each base class */
}

/* All that there can be, among them of sizes in the table, the largest, and the smallest. */
static void check_all(void)
{
    static const size_t sizes[] = {258,  520,   528,   776,   1040,  1100, 2064, 2900, 6000, 8208,
                                   9300, 12300, 16400, 32784, 57400, 3000, 650,  450,  1500};
    unsigned expected = 1;
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        unsigned base = hk_class_of(sizes[i]);
        bool possible = base < HK_BASE_CLASSES && hk_fit_of(base) == HK_CLASS_COUNT &&
                        expected < HK_FITTED_CLASSES;
        CHECKF(hk_fit_make(base, sizes[i]) == possible, " (size %zu)", sizes[i]);
        expected += possible;
        CHECK(hk_fit_count() == expected);
    }
    CHECK(expected == HK_FITTED_CLASSES);
    CHECK(!hk_fit_make(hk_class_of(20000), 18500) && hk_fit_count() == HK_FITTED_CLASSES);
    CHECK(hk_class_of(18500) < HK_BASE_CLASSES);
}

/* The smallest class of all that holds the size. */
static unsigned smallest_for(size_t size)
{
    unsigned best = HK_CLASS_COUNT;
    for (unsigned c = 0; c < HK_CLASS_COUNT; c++)
        if (bytes_of(c) >= size && (best == HK_CLASS_COUNT || bytes_of(c) < bytes_of(best)))
            best = c;
    return best;
}

static void check_sizes(void)
{
    for (size_t size = 1; size <= HK_SMALL_MAX; size++) {
        unsigned found = hk_class_of(size);
        CHECKF(found == smallest_for(size), " (size %zu: class %u)", size, found);
        for (size_t alignment = 1; alignment <= HK_SMALL_MAX; alignment *= 2) {
            unsigned aligned = hk_class_of_aligned(size, alignment);
            CHECKF(bytes_of(aligned) >= size && bytes_of(aligned) % alignment == 0,
                   " (size %zu, alignment %zu: class %u)", size, alignment, aligned);
        }
    }
}

static void check_geometry(void)
{
    for (unsigned c = HK_BASE_CLASSES; c < HK_CLASS_COUNT; c++) {
        const hk_class_info_t *info = &hk_class_info[c];
        const hk_class_info_t *parent = &hk_class_info[hk_class_base_of(c)];
        uint32_t slab_bytes = (uint32_t)info->units << HK_UNIT_SHIFT;
        CHECKF(info->block_bytes % HK_GRANULE_BYTES == 0, " (class %u)", c);
        CHECKF(info->block_bytes < parent->block_bytes, " (class %u)", c);
        CHECKF(info->units >= 1 && info->block_count >= 1, " (class %u)", c);
        CHECKF(info->block_count <= HK_SLAB_BLOCKS_MAX, " (class %u)", c);
        CHECKF(slab_bytes / info->block_bytes == info->block_count, " (class %u)", c);
        CHECKF(hk_policy_class[c].magazine_blocks > 0, " (class %u)", c);
        for (uint32_t offset = 0; offset < slab_bytes; offset++)
            CHECKF(hk_class_block_index(c, offset) == offset / info->block_bytes,
                   " (class %u, offset %u)", c, offset);
    }
}

int main(void)
{
    check_none();
    check_majority();
    check_all();
    check_sizes();
    check_geometry();
    return 0;
}
