/*
 * The live bits, exhaustively: every granule of a superslab, every misaligned address beside one,
 * every unit.
 */
#include "test.h"

#include "live.h"

enum {
    GRANULE = 1 << HK_LIVE_GRANULE_SHIFT,
    GRANULES = HK_SUPERSLAB_BYTES / GRANULE,
    UNITS = HK_SUPERSLAB_BYTES / HK_UNIT_BYTES,
    UNIT_GRANULES = HK_UNIT_BYTES / GRANULE,
};

/* As large and as aligned as one; only the bits are ever touched. */
static char *superslab;
static uint32_t *words;

static char *granule(size_t number)
{
    return superslab + number * GRANULE;
}

static bool bit(size_t number)
{
    return (words[number / 32] >> number % 32 & 1) != 0;
}

static size_t count_bits(void)
{
    size_t count = 0;
    for (size_t i = 0; i < GRANULES / 32; i++)
        count += (size_t)__builtin_popcount(words[i]);
    return count;
}

static void set_all(void)
{
    for (size_t i = 0; i < GRANULES; i++)
        hk_live_set(granule(i));
}

/* Each granule has a bit of its own, in the order of the addresses. */
static void test_each(void)
{
    for (size_t i = 0; i < GRANULES; i++) {
        CHECKF(!hk_live_is_misaligned(granule(i)), " (granule %zu)", i);
        CHECKF(!hk_live_is_set(granule(i)) && !bit(i), " (granule %zu)", i);
        CHECKF(!hk_live_clear(granule(i)), " (granule %zu)", i);
        hk_live_set(granule(i));
        CHECKF(hk_live_is_set(granule(i)) && bit(i), " (granule %zu)", i);
        CHECKF(i % 997 != 0 || count_bits() == i + 1, " (granule %zu)", i);
        hk_live_set(granule(i)); /* again: no harm */
        CHECKF(bit(i), " (granule %zu)", i);
    }
    CHECK(count_bits() == GRANULES);
    size_t left = GRANULES;
    for (size_t i = 5, step = 7919; left > 0; i = (i + step) % GRANULES) { /* once each: odd step */
        CHECKF(hk_live_clear(granule(i)), " (granule %zu)", i);
        left--;
        CHECKF(!hk_live_is_set(granule(i)) && !bit(i), " (granule %zu)", i);
        CHECKF(!hk_live_clear(granule(i)) && !bit(i), " (granule %zu)", i);
        CHECKF(left % 997 != 0 || count_bits() == left, " (granule %zu)", i);
    }
    CHECK(count_bits() == 0);
}

/* An address inside a granule is nobody's, whatever lives below and above it. */
static void test_misaligned(void)
{
    set_all();
    for (size_t i = 0; i < GRANULES; i += 31) { /* every place in a word */
        for (size_t offset = 1; offset < GRANULE; offset++) {
            CHECKF(!hk_live_is_set(granule(i) + offset), " (granule %zu, offset %zu)", i, offset);
            CHECKF(hk_live_is_misaligned(granule(i) + offset), " (granule %zu, offset %zu)", i,
                   offset);
        }
    }
    CHECK(hk_live_is_misaligned(superslab + HK_SUPERSLAB_BYTES - 1));
    CHECK(!hk_live_is_set(superslab + HK_SUPERSLAB_BYTES - 1));
    CHECK(count_bits() == GRANULES);
}

static void test_units(void)
{
    for (size_t first = 0; first < UNITS; first++) {
        for (size_t units = 1; first + units <= UNITS; units += 1 + units / 3) {
            set_all();
            hk_live_clear_units(superslab + first * HK_UNIT_BYTES, units);
            CHECKF(count_bits() == GRANULES - units * UNIT_GRANULES, " (%zu from %zu)", units,
                   first);
            size_t before = hk_live_count_units(superslab, first);
            size_t behind = first + units;
            CHECK(before == first * UNIT_GRANULES);
            CHECK(hk_live_count_units(superslab + first * HK_UNIT_BYTES, units) == 0);
            CHECK(behind == UNITS ||
                  hk_live_count_units(superslab + behind * HK_UNIT_BYTES, 1) == UNIT_GRANULES);
            for (size_t i = 0; i < units * UNIT_GRANULES; i += 127)
                CHECKF(!bit(first * UNIT_GRANULES + i), " (%zu from %zu)", units, first);
            CHECK(!bit((first + units) * UNIT_GRANULES - 1));
            CHECK(first == 0 || bit(first * UNIT_GRANULES - 1));
            CHECK(first + units == UNITS || bit((first + units) * UNIT_GRANULES));
        }
    }
}

int main(void)
{
    superslab = aligned_alloc(HK_SUPERSLAB_BYTES, HK_SUPERSLAB_BYTES);
    CHECK(superslab != NULL);
    words = (uint32_t *)(void *)superslab;
    CHECK(HK_LIVE_BYTES == GRANULES / 8);
    memset(superslab, 0, HK_LIVE_BYTES);
    memset(superslab + HK_LIVE_BYTES, 0xcc, HK_SUPERSLAB_BYTES - HK_LIVE_BYTES);
    test_each();
    test_misaligned();
    test_units();
    CHECK(test_is_filled_with(superslab + HK_LIVE_BYTES, 0xcc, HK_SUPERSLAB_BYTES - HK_LIVE_BYTES));
    free(superslab);
    return 0;
}
