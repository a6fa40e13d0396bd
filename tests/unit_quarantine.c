/*
 * The quarantine: which block leaves it, and when.
 */
#include "test.h"

#include "quarantine.h"

enum { BLOCKS = 256, WINDOW = BLOCKS / HK_QUARANTINE_AGES, STEPS = 20000, SMALL = 3, LARGE = 60 };

static hk_quarantined_t numbered(uintptr_t number, uint8_t class_index)
{
    return (hk_quarantined_t){(void *)((number + 1) * HK_GRANULE_BYTES),
                              hk_class_info[class_index].block_bytes, 7, class_index};
}

static size_t number_of(hk_quarantined_t block)
{
    return (uintptr_t)block.block / HK_GRANULE_BYTES - 1;
}

/* Each block goes once, whole; none before all but the window's have come after it; and not in the
 * order in which they came. */
static void test_order(void)
{
    static bool gone[STEPS];
    size_t evictions = 0;
    size_t out_of_order = 0;
    size_t last = 0;
    hk_quarantine_t *quarantine = hk_quarantine_new(HK_QUARANTINE_THREAD);
    CHECK(quarantine->most == BLOCKS);
    for (size_t i = 0; i < STEPS; i++) {
        hk_quarantined_t evicted;
        bool full = hk_quarantine_exchange(quarantine, numbered(i, SMALL), &evicted);
        CHECK(full == (i >= BLOCKS));
        CHECK(hk_quarantine_count(quarantine) == (i < BLOCKS ? i + 1 : BLOCKS));
        CHECK(quarantine->bytes ==
              hk_quarantine_count(quarantine) * hk_class_info[SMALL].block_bytes);
        if (!full)
            continue;
        size_t number = number_of(evicted);
        CHECK(number < i && !gone[number] && evicted.class_index == SMALL && evicted.owner == 7);
        CHECK(i - number > BLOCKS - WINDOW);
        gone[number] = true;
        evictions++;
        out_of_order += number < last;
        last = number;
    }
    CHECK(evictions == STEPS - BLOCKS);
    CHECK(out_of_order > evictions / 4 && out_of_order < evictions * 3 / 4);
    while (hk_quarantine_count(quarantine) > 0) {
        size_t number = number_of(hk_quarantine_take(quarantine));
        CHECK(!gone[number]);
        gone[number] = true;
    }
    for (size_t i = 0; i < STEPS; i++)
        CHECK(gone[i]);
    CHECK(quarantine->bytes == 0);
    hk_quarantine_delete(quarantine);
}

/* Bytes count as well as blocks; a block that is more than all of them is kept alone. */
static void test_bytes(void)
{
    hk_quarantined_t evicted;
    hk_quarantine_t *quarantine = hk_quarantine_new(HK_QUARANTINE_THREAD);
    size_t fit = quarantine->most_bytes / hk_class_info[LARGE].block_bytes;
    CHECK(fit < BLOCKS);
    for (size_t i = 0; i < 10 * fit; i++) {
        bool full = hk_quarantine_exchange(quarantine, numbered(i, LARGE), &evicted);
        CHECK(full == (i >= fit) && !hk_quarantine_is_over(quarantine));
        size_t oldest = fit / HK_QUARANTINE_AGES < 2 ? 2 : fit / HK_QUARANTINE_AGES;
        CHECK(!full || i - number_of(evicted) > fit - oldest);
    }
    for (size_t i = 0; i < BLOCKS - fit; i++) {
        if (hk_quarantine_exchange(quarantine, numbered(i, SMALL), &evicted) &&
            evicted.class_index == SMALL)
            CHECK(number_of(evicted) < i);
    }
    CHECK(hk_quarantine_exchange(quarantine, numbered(0, HK_CLASS_COUNT - 1), &evicted));
    while (hk_quarantine_is_over(quarantine))
        (void)hk_quarantine_take(quarantine);
    CHECK(quarantine->bytes <= quarantine->most_bytes && hk_quarantine_count(quarantine) > 0);
    quarantine->most_bytes = 0;
    (void)hk_quarantine_exchange(quarantine, numbered(1, LARGE), &evicted);
    while (hk_quarantine_is_over(quarantine))
        (void)hk_quarantine_take(quarantine);
    CHECK(hk_quarantine_count(quarantine) == 1);
    hk_quarantine_delete(quarantine);
}

int main(void)
{
    test_order();
    test_bytes();
    return 0;
}
