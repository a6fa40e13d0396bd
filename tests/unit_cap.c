/*
 * The caps of classes.  Soft caps: a request is always served, caps follow the demand, and a
 * working set does not run into them again and again, as counters show.  Strict caps: a cap holds
 * at each step, and requests are served again once blocks are freed.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "cap.h"
#include "fake_os.h"
#include "sizeclass.h"

enum { SLOTS = 8192, STEPS = 400000, BURST = 60000, NORMAL = 1, STRICT = 2, UNIT = HK_UNIT_BYTES };

static void *blocks[BURST];

static void clear(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hak_free(blocks[i]);
        blocks[i] = NULL;
    }
}

/* The counts of the caps are the slabs that there are: of the test's blocks none is left after a
 * trim, and the C library's are few. */
static void check_empty(void)
{
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++)
        CHECKF(hk_cap_used_units(class_index) <= hk_class_info[class_index].units,
               " (class %u: %d)", class_index, (int)hk_cap_used_units(class_index));
}

static void check_counting(void)
{
    unsigned units = hk_class_info[20].units;
    uint64_t cap = hk_cap_units(20), hits = hk_cap_hits();
    CHECK(cap >= units && hk_cap_used_units(20) == 0 && !hk_cap_is_reached(20));
    uint64_t used = 0;
    for (; used + units <= cap; used += units)
        CHECK(hk_cap_charge(20, units));
    CHECK(hk_cap_used_units(20) == used && hk_cap_is_reached(20) && hk_cap_hits() == hits);
    CHECK(!hk_cap_charge(20, units) && hk_cap_used_units(20) == used && hk_cap_hits() == hits + 1);
    CHECK(!hk_cap_is_reached(21) && hk_cap_charge(21, 1));
    CHECK(hk_cap_give_way(20) && hk_cap_units(20) >= cap + cap / 2 && hk_cap_charge(20, units));
    hk_cap_uncharge(20, units);
    hk_cap_uncharge(21, 1);
    /* Another class is raised: this one gives back what it does not use. */
    hk_cap_uncharge(20, (unsigned)used);
    CHECK(hk_cap_charge(21, (unsigned)hk_cap_units(21)));
    for (int i = 0; i < 32; i++)
        CHECK(hk_cap_give_way(21));
    CHECK(hk_cap_units(20) == cap && hk_cap_units(21) > cap);
    hk_cap_uncharge(21, (unsigned)hk_cap_used_units(21));
    for (int i = 0; i < 64; i++)
        CHECK(hk_cap_give_way(20));
    CHECK(hk_cap_units(21) == cap);
}

/* Whatever is used of whatever cap: once it has given way, a slab fits.  Else who asks for one
 * would come back for ever. */
static void check_slab_fits(unsigned class_index)
{
    for (int i = 0; i < 60; i++) {
        uint64_t used = hk_cap_used_units(class_index);
        CHECKF(hk_cap_give_way(class_index) && !hk_cap_is_reached(class_index),
               " (class %u: %d of %d units)", class_index, (int)used,
               (int)hk_cap_units(class_index));
        CHECK(hk_cap_charge(class_index, 1));
    }
    hk_cap_uncharge(class_index, (unsigned)hk_cap_used_units(class_index));
}

/* The random mixed benchmark's working set, and larger blocks too: hits while it grows, none while
 * it runs. */
static void check_working_set(size_t least, size_t spread, size_t slots)
{
    test_rng_t rng = test_rng(spread);
    uint64_t hits = 0;
    uint64_t start = hk_cap_hits();
    for (size_t step = 0; step < STEPS; step++) {
        size_t i = test_below(&rng, slots);
        if (blocks[i] != NULL) {
            hak_free(blocks[i]);
            blocks[i] = NULL;
        } else {
            blocks[i] = hak_malloc(least + test_below(&rng, spread));
            CHECK(blocks[i] != NULL);
        }
        if (step % 1000 == 0)
            fake_os_advance(20);
        if (step == STEPS / 2)
            hits = hk_cap_hits();
    }
    size_t bytes = slots * (least + spread / 2);
    /* Growing by half each time from 1 MiB: so often each of a few classes. */
    CHECKF(hits - start <= 16 * (1 + bytes / (16 * MIB)), " (%d, %zu bytes)", (int)(hits - start),
           bytes);
    CHECKF(hk_cap_hits() - hits <= 4, " (%d, %zu bytes)", (int)(hk_cap_hits() - hits), bytes);
    clear(slots);
}

/* Bursts in one class after the other: each is served with few hits, and what one class was raised
 * by falls when another needs it. */
static void check_bursts(void)
{
    uint64_t before = hk_cap_hits();
    static const size_t sizes[] = {700, 1500, 2500, 700, 1500, 2500};
    for (size_t burst = 0; burst < TEST_COUNT(sizes); burst++) {
        for (size_t i = 0; i < BURST; i++)
            CHECK((blocks[i] = hak_malloc(sizes[burst])) != NULL);
        clear(BURST);
        (void)hak_trim(0);
        unsigned other = hk_class_of(sizes[(burst + 1) % 3]);
        uint64_t raised = hk_cap_units(hk_class_of(sizes[burst]));
        CHECKF(burst == 0 || hk_cap_units(other) < raised, " (burst %zu)", burst);
    }
    CHECKF(hk_cap_hits() - before <= TEST_COUNT(sizes) * 20, " (%d)",
           (int)(hk_cap_hits() - before));
}

static void *other_thread(void *argument)
{
    size_t size = *(const size_t *)argument;
    void **mine = hak_calloc(20000, sizeof *mine);
    CHECK(mine != NULL);
    for (size_t i = 0; i < 20000; i++)
        CHECK((mine[i] = hak_malloc(size)) != NULL);
    for (size_t i = 0; i < 20000; i++)
        hak_free(mine[i]);
    hak_free(mine);
    return NULL;
}

/* Blocks of one size until the cap; then ENOMEM, at once and again; the other sizes are served; and
 * after frees this one is too. */
static void check_strict(size_t size)
{
    unsigned class_index = hk_class_of(size);
    uint64_t cap = hk_cap_units(class_index);
    CHECK(cap == 32);
    size_t count = 0;
    while (count < BURST && (blocks[count] = hak_malloc(size)) != NULL) {
        CHECK(hk_cap_used_units(class_index) <= cap);
        count++;
    }
    size_t slabs = cap / hk_class_info[class_index].units;
    CHECKF(count == slabs * hk_class_info[class_index].block_count || count == BURST,
           " (%zu bytes: %zu)", size, count);
    if (count == BURST) {
        clear(count);
        return;
    }
    for (int i = 0; i < 20; i++) {
        errno = 0;
        CHECK(hak_malloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(hak_calloc(1, size) == NULL && errno == ENOMEM);
        void *other = hak_malloc(size * 2);
        CHECK(other != NULL);
        hak_free(other);
    }
    CHECK(hak_check() == 0);
    for (int round = 0; round < 50; round++) {
        size_t freed = (size_t)round * 7 % count + 1;
        for (size_t i = 0; i < freed; i++)
            hak_free(blocks[i]);
        for (size_t i = 0; i < freed; i++)
            CHECK((blocks[i] = hak_malloc(size)) != NULL);
        CHECK(hak_malloc(size) == NULL && hk_cap_used_units(class_index) <= cap);
    }
    /* What another thread's heap has goes back when that thread is gone. */
    clear(count);
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
}

static void check_strict_threads(void)
{
    hk_cap_start(STRICT, 64 * MIB);
    fake_os.main_thread = false; /* the thread ends like others */
    size_t size = 1000;
    for (int round = 0; round < 5; round++) {
        test_join(test_thread(other_thread, &size));
        (void)other_thread(&size);
    }
    CHECK(hk_cap_used_units(hk_class_of(size)) <= 64 * MIB / UNIT);
}

int main(void)
{
    check_counting();
    check_slab_fits(20);
    check_slab_fits(65);
    check_empty();
    check_working_set(16, 1024, SLOTS);
    check_working_set(16, 1024, 256);
    check_working_set(1, 60000, SLOTS);
    check_working_set(9000, 10, SLOTS);
    check_bursts();
    check_empty();
    hk_cap_start(STRICT, 32 * UNIT);
    static const size_t sizes[] = {1, 100, 1000, 1024, 5000, 20000, 32768};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        check_strict(sizes[i]);
    check_empty();
    check_strict_threads();
    hk_cap_start(NORMAL, 0);
    check_bursts();
    check_empty();
    return 0;
}
