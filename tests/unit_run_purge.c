/*
 * Free runs of pages that go back to the system: which pages, when, and between allocations at
 * random and in other threads, on the system's pages and on larger ones.  hak_check counts all
 * structures again.
 */
#include "run_checks.h"

#include "bitrange.h"
#include "policy.h"

enum { SLOTS = 300, STEPS = 12000, THREADS = 4 };

static void test_purge(void)
{
    hk_run_t *holes[3], *walls[3];
    static const size_t sizes[3] = {30, 100, 60};
    for (int i = 0; i < 3; i++) {
        walls[i] = make_hole(sizes[i], &holes[i]);
        memset(hk_run_address(holes[i]), 7, hk_run_bytes(holes[i]));
    }
    for (int i = 0; i < 3; i++)
        CHECK(hk_run_free(holes[i]));
    CHECK(hk_run_warm_bytes() == 190 * page_bytes);
    CHECK(hk_run_purge(190 * page_bytes) == 0);
    CHECK(hk_run_purge(150 * page_bytes) == 40 * page_bytes); /* of the end of the largest */
    CHECK(hk_run_warm_bytes() == 150 * page_bytes);
    CHECK(holes[1]->dirty_pages == 60 && holes[0]->dirty_pages == 30);
    check_all();
    for (size_t page = 0; page < 100; page++)
        CHECK(((char *)hk_run_address(holes[1]))[page * page_bytes] == (page < 60 ? 7 : 0));
    /* The end is clean now: what goes next lies before it. */
    CHECK(hk_run_purge(140 * page_bytes) == 10 * page_bytes && holes[1]->dirty_pages == 50);
    check_all();

    /* The kernel refuses: all stays as it was. */
    fake_os_fail_after(0);
    CHECK(hk_run_purge(0) == 0 && hk_run_warm_bytes() == 140 * page_bytes);
    fake_os_heal();
    check_all();
    size_t purged = hk_run_purged_bytes();
    CHECK(hk_run_purge(0) == 140 * page_bytes && hk_run_warm_bytes() == 0);
    CHECK(hk_run_purged_bytes() - purged == 140 * page_bytes);
    check_all();
    CHECK(hk_runs->area_count == 1); /* the walls stand in it */
    for (int i = 0; i < 3; i++)
        CHECK(hk_run_free(walls[i]));
    /* An area without a block goes whole, and no page of it is purged before. */
    uint64_t purges = fake_os.purges;
    CHECK(hk_run_purge(1) == 2 * page_bytes && hk_runs->area_count == 1);
    CHECK(fake_os.purges > purges);
    purges = fake_os.purges;
    CHECK(hk_run_purge(0) == page_bytes && hk_runs->area_count == 0);
    CHECK(fake_os.purges == purges);
    check_empty();
}

/* Parts of a free run that are dirty, and parts that are clean, in turns. */
static void test_purge_striped(void)
{
    enum { STRIPES = 20 };
    hk_run_t *stripes[STRIPES];
    for (int i = 0; i < STRIPES; i++)
        stripes[i] = allocate(5, 1, true);
    hk_run_t *wall = allocate(1, 1, true);
    for (int i = 0; i < STRIPES; i += 2)
        CHECK(hk_run_free(stripes[i]));
    CHECK(hk_run_purge(0) == 50 * page_bytes);
    for (int i = 1; i < STRIPES; i += 2)
        CHECK(hk_run_free(stripes[i]));
    CHECK(hk_run_area_pages(stripes[0]) == 100 && stripes[0]->dirty_pages == 50);
    for (size_t left = 50; left > 0; left--) {
        CHECK(hk_run_purge((left - 1) * page_bytes) == page_bytes);
        CHECK(hk_run_warm_bytes() == (left - 1) * page_bytes);
        check_all();
    }
    CHECK(hk_run_free(wall));
    check_empty();
}

/* All portions of an epoch, none of which gives back more than it may. */
static void maintain(uint64_t now)
{
    size_t before, given;
    do {
        before = hk_run_warm_bytes();
        size_t left = HK_PORTION_BYTES;
        size_t excess = hk_run_maintain(now, &left);
        given = before - hk_run_warm_bytes();
        CHECK(left <= HK_PORTION_BYTES && given == HK_PORTION_BYTES - left);
        CHECK(excess == hk_above(hk_run_warm_bytes(), hk_policy_kept_run_bytes(1)));
    } while (given > 0);
}

static void test_maintain(void)
{
    fake_os_advance(10 * HK_DECAY_MS);
    uint64_t now = hk_os_clock_ms();
    size_t pages = 16 * MIB / page_bytes;
    hk_run_t *run = allocate(pages, 1, true);
    CHECK(hk_run_free(run));
    run = allocate(1, 1, false); /* so that the area stays */
    maintain(now);
    size_t warm = hk_run_warm_bytes();
    CHECK(warm == (pages - 1) * page_bytes);
    maintain(now + HK_DECAY_MS - 1); /* too early */
    CHECK(hk_run_warm_bytes() == warm);
    /* The epoch needs a quarter of it, out of one large run: that stays, and something at hand. */
    hk_run_t *needed = allocate(pages / 4, 1, false);
    CHECK(hk_run_free(needed));
    CHECK(hk_runs->epoch.low_water == warm - pages / 4 * page_bytes);
    now += HK_DECAY_MS;
    maintain(now);
    CHECK(warm - hk_run_warm_bytes() ==
          hk_above(warm - pages / 4 * page_bytes, hk_policy_kept_run_bytes(1)));
    check_all();
    /* What one epoch gave back does not make the next one keep the rest. */
    CHECK(hk_runs->epoch.low_water == hk_run_warm_bytes());
    now += HK_DECAY_MS;
    maintain(now);
    CHECK(hk_run_warm_bytes() == 1 * MIB);
    now += HK_DECAY_MS;
    uint64_t calls = fake_os.calls;
    maintain(now);
    CHECK(hk_run_warm_bytes() == 1 * MIB && fake_os.calls == calls);
    check_all();
    CHECK(hk_run_free(run));
    check_empty();
}

typedef struct slot {
    hk_run_t *run;
    size_t bytes;
    uint64_t id;
} slot_t;

static size_t random_bytes(test_rng_t *rng)
{
    size_t most = test_below(rng, 20) == 0 ? (size_t)HK_RUN_BYTES_MAX : 40 * page_bytes;
    return 1 + test_below(rng, most);
}

static void fill_slot(slot_t *slot, size_t bytes, uint64_t id)
{
    slot->bytes = bytes;
    slot->id = id | 1; /* not every byte of it */
    test_fill(hk_run_address(slot->run), bytes, slot->id);
}

static void step_random(slot_t *slot, test_rng_t *rng, uint64_t id)
{
    size_t bytes = random_bytes(rng);
    if (slot->run == NULL) {
        bool fresh = false;
        size_t alignment = (size_t)1 << test_below(rng, 22);
        slot->run = hk_run_allocate(bytes, alignment, &fresh);
        CHECK(slot->run != NULL && test_is_aligned(hk_run_address(slot->run), alignment));
        CHECK(hk_run_bytes(slot->run) == hk_align_up(bytes, page_bytes));
        const char *address = hk_run_address(slot->run);
        for (size_t at = 0; fresh && at < bytes; at += page_bytes)
            CHECK(address[at] == 0 && address[at + page_bytes - 1] == 0);
        fill_slot(slot, bytes, id);
        return;
    }
    CHECK_PATTERN(hk_run_address(slot->run), slot->bytes, slot->bytes, slot->id);
    if (test_below(rng, 3) == 0) {
        if (hk_run_resize(slot->run, bytes)) {
            size_t kept = bytes < slot->bytes ? bytes : slot->bytes;
            CHECK(hk_run_bytes(slot->run) == hk_align_up(bytes, page_bytes));
            CHECK_PATTERN(hk_run_address(slot->run), kept, slot->bytes, slot->id);
            fill_slot(slot, bytes, id);
        }
    } else {
        CHECK(hk_run_free(slot->run));
        slot->run = NULL;
    }
}

static void test_random(uint64_t seed)
{
    static slot_t slots[SLOTS];
    test_rng_t rng = test_rng(seed);
    for (uint64_t step = 0; step < STEPS; step++) {
        step_random(&slots[test_below(&rng, SLOTS)], &rng, step);
        if (step % 64 == 0) {
            if (test_below(&rng, 4) == 0)
                fake_os_fail_after(test_below(&rng, 3));
            (void)hk_run_purge(test_below(&rng, 8) == 0 ? 0 : test_below(&rng, 8 * MIB));
            fake_os_heal();
            check_all();
        }
        if (step % 500 == 0)
            fake_os_advance(100);
        size_t left = HK_DECAY_STEP_BYTES;
        hk_run_maintain(hk_os_clock_ms(), &left);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        CHECK(slots[i].run == NULL || hk_run_free(slots[i].run));
        slots[i].run = NULL;
    }
    check_empty();
}

/* While one thread has opened the lock to purge, others allocate, free, resize and purge too. */
static void *hammer(void *argument)
{
    slot_t slots[32] = {{0}};
    test_rng_t rng = test_rng((uint64_t)(uintptr_t)argument);
    for (uint64_t step = 0; step < STEPS / 4; step++) {
        step_random(&slots[test_below(&rng, TEST_COUNT(slots))], &rng, step);
        if (step % 16 == 0)
            (void)hk_run_purge(test_below(&rng, 2) == 0 ? 0 : test_below(&rng, 8 * MIB));
        if (step % 256 == 0)
            CHECK(hak_check() == 0);
    }
    for (size_t i = 0; i < TEST_COUNT(slots); i++)
        CHECK(slots[i].run == NULL || hk_run_free(slots[i].run));
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    fake_os.main_thread = false;
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(hammer, (void *)(i + 1));
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    CHECK(hak_check() == 0);
    (void)hk_run_purge(0);
    CHECK(hk_run_used_bytes() == 0 && hk_runs->area_count == 0 && hk_run_warm_bytes() == 0);
}

static void test_bitrange(void)
{
    uint64_t words[4] = {0};
    test_rng_t rng = test_rng(3);
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < 4; i++)
            words[i] = test_next(&rng) & (round % 3 == 0 ? test_next(&rng) : UINT64_MAX);
        size_t first = test_below(&rng, 256), count = test_below(&rng, 257 - first);
        size_t wanted = test_below(&rng, 80);
        size_t tail = hk_bitrange_tail(words, first, count, wanted);
        size_t set = hk_bitrange_count(words, first, count);
        CHECK(tail >= first && tail <= first + count);
        CHECK(hk_bitrange_count(words, tail, first + count - tail) ==
              (wanted < set ? wanted : set));
    }
}

static void test_all(void)
{
    test_purge();
    test_purge_striped();
    test_maintain();
    test_random(page_bytes);
}

int main(void)
{
    test_bitrange();
    test_on_pages(test_all);
    test_threads();
    return 0;
}
