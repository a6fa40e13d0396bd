/*
 * Runs of pages: which free run a block is cut from, what is merged, when a block is fresh, what
 * goes back to the system and what the limit is charged, on the system's pages and on larger ones.
 * hak_check counts all structures again.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "bitrange.h"
#include "fake_os.h"
#include "limit.h"
#include "policy.h"
#include "run.h"

enum { SLOTS = 300, STEPS = 12000, THREADS = 4 };

static size_t page_bytes;

/* What there was before the first area, without the registry's leaves: an area may lie where the
 * map has none yet. */
static size_t base_charge, base_mapped;

static void add_leaf_bytes(const void *address, size_t bytes, void *context)
{
    CHECK(address != NULL);
    *(size_t *)context += bytes;
}

static size_t leaf_bytes(void)
{
    size_t bytes = 0;
    hk_registry_each_leaf(add_leaf_bytes, &bytes);
    return bytes;
}

static void check_all(void)
{
    CHECK(hak_check() == 0);
    CHECK(!hk_lock_is_held(&hk_runs->lock));
    CHECKF(hk_limit_committed_bytes() - leaf_bytes() ==
               base_charge + hk_run_used_bytes() + hk_run_warm_bytes() + hk_run_descriptor_bytes(),
           " (%zu)", hk_limit_committed_bytes() - base_charge);
    CHECK(fake_os.mapped_bytes - leaf_bytes() - base_mapped ==
          hk_run_mapped_bytes() + hk_run_descriptor_bytes());
}

/* No block is left: after a purge nothing else is. */
static void check_empty(void)
{
    check_all();
    CHECK(hk_run_used_bytes() == 0);
    (void)hk_run_purge(0);
    check_all();
    CHECK(hk_runs->areas == NULL && hk_runs->area_count == 0);
    CHECK(hk_run_mapped_bytes() == 0 && hk_run_warm_bytes() == 0);
    CHECK(hk_limit_committed_bytes() - leaf_bytes() == base_charge);
    CHECK(fake_os.mapped_bytes - leaf_bytes() == base_mapped);
}

static hk_run_t *allocate(size_t pages, size_t alignment, bool expect_fresh)
{
    bool fresh = !expect_fresh;
    hk_run_t *run = hk_run_allocate(pages * page_bytes, alignment, &fresh);
    CHECK(run != NULL && fresh == expect_fresh);
    char *address = hk_run_address(run);
    CHECK(hk_run_bytes(run) == pages * page_bytes && run->heap == NULL);
    CHECK(test_is_aligned(address, page_bytes) && test_is_aligned(address, alignment));
    CHECK(hk_registry_find(address) == &run->area->region);
    CHECK(hk_run_find(run->area, address) == run);
    return run;
}

static void test_merge(void)
{
    hk_run_t *runs[5];
    for (size_t i = 0; i < 5; i++)
        runs[i] = allocate(20, 1, true);
    for (size_t i = 1; i < 5; i++)
        CHECK((char *)hk_run_address(runs[i]) ==
              (char *)hk_run_address(runs[i - 1]) + 20 * page_bytes);
    hk_run_area_t *area = runs[0]->area;
    CHECK(hk_run_free(runs[1]) && hk_run_free(runs[3]));
    check_all();
    CHECK(hk_run_free(runs[2])); /* between both */
    CHECK(runs[1]->is_free && hk_run_area_pages(runs[1]) == 60 && runs[1]->dirty_pages == 60);
    check_all();
    CHECK(hk_run_free(runs[4])); /* the clean rest is behind it */
    CHECK(hk_run_area_pages(runs[1]) == area->pages - 20 && runs[1]->dirty_pages == 80);
    check_all();
    CHECK(hk_run_free(runs[0]));
    CHECK(hk_run_area_pages(area->runs) == area->pages && area->runs->dirty_pages == 100);
    check_empty();
}

/* A block of so many pages, to be freed later, and one behind it, which is returned: so it is not
 * merged with what is free there. */
static hk_run_t *make_hole(size_t pages, hk_run_t **hole)
{
    *hole = allocate(pages, 1, true);
    return allocate(1, 1, true);
}

/* An area of so many pages or some more, all but the first of them free and clean; returns the
 * block at its start. */
static hk_run_t *make_area(size_t pages)
{
    hk_run_t *start = allocate(pages, 1, true);
    CHECK(hk_run_resize(start, 1) && hk_run_purge(0) == (pages - 1) * page_bytes);
    CHECK(hk_runs->area_count == 1 && hk_run_address(start) == start->area->base);
    return start;
}

static void test_best_fit(void)
{
    hk_run_t *start = make_area(600);
    static const size_t sizes[5] = {40, 22, 30, 20, 90};
    hk_run_t *holes[5], *walls[5];
    for (int i = 0; i < 5; i++)
        walls[i] = make_hole(sizes[i], &holes[i]);
    for (int i = 0; i < 5; i++)
        CHECK(hk_run_free(holes[i]));
    check_all();
    CHECK(allocate(30, 1, false) == holes[2]); /* exactly */
    CHECK(allocate(21, 1, false) == holes[1]); /* the smallest that does */
    CHECK(allocate(20, 1, false) == holes[3]);
    CHECK(allocate(49, 1, false) == holes[4]); /* 41 are left of it */
    CHECK(allocate(40, 1, false) == holes[0]);
    check_all();
    for (int i = 0; i < 5; i++)
        CHECK(hk_run_free(holes[i]) && hk_run_free(walls[i]));
    CHECK(hk_run_free(start));
    check_empty();
}

/* A resident one is taken, whichever was freed last, and even if a clean one fits better. */
static void test_dirty_first(void)
{
    hk_run_t *holes[2], *walls[2];
    hk_run_t *start = make_area(300);
    walls[0] = make_hole(40, &holes[0]);
    walls[1] = make_hole(70, &holes[1]);
    CHECK(hk_run_free(holes[0]) && hk_run_purge(0) == 40 * page_bytes && hk_run_free(holes[1]));
    CHECK(allocate(40, 1, false) == holes[1]);
    CHECK(allocate(40, 1, true) == holes[0]); /* the 30 that are left do not suffice */
    for (int i = 0; i < 2; i++)
        CHECK(hk_run_free(holes[i]) && hk_run_free(walls[i]));
    CHECK(hk_run_free(start));
    check_empty();
    for (int i = 0; i < 2; i++)
        walls[i] = make_hole(50, &holes[i]);
    for (int dirty = 0; dirty < 2; dirty++) {
        CHECK(hk_run_free(holes[!dirty]));
        CHECK(hk_run_purge(0) == 50 * page_bytes);
        CHECK(hk_run_warm_bytes() == 0);
        CHECK(hk_run_free(holes[dirty]));
        CHECK(allocate(50, 1, false) == holes[dirty]);
        CHECK(allocate(50, 1, true) == holes[!dirty]);
        check_all();
    }
    for (int i = 0; i < 2; i++)
        CHECK(hk_run_free(holes[i]) && hk_run_free(walls[i]));
    check_empty();
}

/* A run that fits is found behind many of its bin that do not. */
static void test_hidden(void)
{
    enum { MANY = 20 };
    hk_run_t *holes[MANY + 1], *walls[MANY + 1];
    hk_run_t *start = make_area(2000);
    for (int i = 0; i <= MANY; i++)
        walls[i] = make_hole(i == 0 ? 71 : 65, &holes[i]);
    CHECK(hk_run_area_bin(65) == hk_run_area_bin(71));
    for (int i = 0; i <= MANY; i++)
        CHECK(hk_run_free(holes[i]));
    /* Nothing larger is free, and there is no memory for more. */
    hk_run_t *rest = allocate(start->area->pages - 1 - 71 - MANY * 65 - (MANY + 1), 1, true);
    fake_os_fail_after(0);
    CHECK(allocate(71, 1, false) == holes[0]);
    bool fresh;
    CHECK(hk_run_allocate(72 * page_bytes, 1, &fresh) == NULL);
    fake_os_heal();
    check_all();
    CHECK(hk_run_free(rest) && hk_run_free(start));
    for (int i = 0; i <= MANY; i++)
        CHECK(hk_run_free(walls[i]) && (i > 0 || hk_run_free(holes[i])));
    check_empty();
}

static void test_fresh(void)
{
    hk_run_t *first = allocate(30, 1, true);
    memset(hk_run_address(first), 1, hk_run_bytes(first));
    hk_run_t *second = allocate(30, 1, true);
    CHECK(hk_run_free(first));
    hk_run_t *again = allocate(10, 1, false);
    CHECK(again == first);
    CHECK(hk_run_free(second) && hk_run_free(again)); /* 60 dirty ones, then clean ones */
    hk_run_t *both = allocate(100, 1, false);         /* one dirty page is enough */
    CHECK(both == first);
    CHECK(hk_run_free(both));
    hk_run_t *wall = allocate(1, 1, false);
    CHECK(hk_run_purge(0) == 99 * page_bytes);
    check_all();
    hk_run_t *clean = allocate(99, 1, true);
    CHECK(test_is_filled_with(hk_run_address(clean), 0, hk_run_bytes(clean)));
    CHECK(hk_run_free(clean) && hk_run_free(wall));
    check_empty();
}

static void test_alignment(void)
{
    for (size_t alignment = 1; alignment <= HK_SUPERSLAB_BYTES; alignment *= 2) {
        static const size_t pages[] = {1, 17, 300};
        hk_run_t *runs[2 * TEST_COUNT(pages)];
        for (size_t i = 0; i < TEST_COUNT(runs); i++) {
            bool fresh;
            runs[i] = hk_run_allocate(pages[i / 2] * page_bytes, alignment, &fresh);
            CHECK(runs[i] != NULL && test_is_aligned(hk_run_address(runs[i]), alignment));
            CHECK(hk_run_bytes(runs[i]) == pages[i / 2] * page_bytes);
            check_all();
        }
        for (size_t i = 0; i < TEST_COUNT(runs); i++)
            CHECK(hk_run_free(runs[i]));
        check_all();
    }
    bool fresh;
    hk_run_t *most = hk_run_allocate(HK_RUN_BYTES_MAX, HK_SUPERSLAB_BYTES, &fresh);
    hk_run_t *none = hk_run_allocate(0, 1, &fresh);
    CHECK(most != NULL && none != NULL && hk_run_bytes(none) == page_bytes);
    CHECK(hk_run_free(most) && hk_run_free(none));
    check_empty();
}

static void test_resize(void)
{
    hk_run_t *run = allocate(40, 1, true);
    test_fill(hk_run_address(run), 40 * page_bytes, 8);
    hk_run_t *behind = allocate(20, 1, true);
    CHECK(hk_run_resize(run, 40 * page_bytes));      /* as it is */
    CHECK(!hk_run_resize(run, 40 * page_bytes + 1)); /* a block is behind it */
    CHECK(hk_run_bytes(run) == 40 * page_bytes);
    CHECK(hk_run_free(behind));
    CHECK(hk_run_resize(run, 50 * page_bytes)); /* over dirty pages */
    CHECK(hk_run_used_bytes() == 50 * page_bytes && hk_run_warm_bytes() == 10 * page_bytes);
    CHECK(hk_run_resize(run, 70 * page_bytes)); /* and over clean ones */
    CHECK(hk_run_used_bytes() == 70 * page_bytes && hk_run_warm_bytes() == 0);
    check_all();
    CHECK_PATTERN(hk_run_address(run), 40 * page_bytes, 40 * page_bytes, 8);
    CHECK(!hk_run_resize(run, (run->area->pages + 1) * page_bytes));
    CHECK(hk_run_resize(run, run->area->pages * page_bytes)); /* to the end of the area */
    check_all();
    CHECK(hk_run_resize(run, 1));
    CHECK(hk_run_bytes(run) == page_bytes);
    check_all();
    /* The limit: growth that it forbids leaves all as it was. */
    (void)hk_run_purge(0);
    hk_limit_set(HK_LIMIT_HARD, hk_limit_committed_bytes() + 4 * page_bytes);
    (void)hk_limit_release_reserve();
    CHECK(!hk_run_resize(run, 6 * page_bytes) && hk_run_resize(run, 5 * page_bytes));
    bool fresh;
    CHECK(hk_run_allocate(page_bytes, 1, &fresh) == NULL);
    hk_limit_set(HK_LIMIT_HARD, 0);
    check_all();
    CHECK(hk_run_free(run));
    check_empty();
}

static void test_wrong(void)
{
    hk_run_t *run = allocate(30, 1, true);
    hk_run_t *wall = allocate(1, 1, true);
    char *address = hk_run_address(run);
    CHECK(hk_run_find(run->area, address + 1) == NULL);
    CHECK(hk_run_find(run->area, address + 16) == NULL);
    for (size_t page = 1; page < 30; page++)
        CHECK(hk_run_find(run->area, address + page * page_bytes) == NULL);
    CHECK(hk_run_find(run->area, address + 40 * page_bytes) == NULL); /* free */
    CHECK(hk_run_free(run));
    CHECK(hk_run_find(wall->area, address) == NULL && !hk_run_free(run));
    check_all();
    CHECK(hk_run_free(wall) && !hk_run_free(wall));
    check_empty();
}

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

/* Areas double from 4 MiB, and are smaller when there is not so much. */
static void test_areas(void)
{
    hk_run_t *runs[16];
    size_t count = 0, mapped = 0;
    while (mapped < 128 * MIB && count < 16) {
        size_t next = hk_policy_area_bytes(mapped);
        runs[count++] = allocate((next < 16 * MIB ? next : 16 * MIB) / page_bytes, 1, true);
        if (hk_run_mapped_bytes() != mapped) {
            CHECK(hk_run_mapped_bytes() - mapped == next);
            mapped = hk_run_mapped_bytes();
        }
        check_all();
    }
    CHECK(mapped >= 64 * MIB);
    /* There is no memory for an area of the usual size, but for a smaller one. */
    fake_os.most_bytes = 9 * MIB;
    hk_run_t *more;
    bool fresh;
    size_t extra = 0;
    hk_run_t *extras[16];
    do {
        more = hk_run_allocate(8 * MIB, 1, &fresh);
        CHECK(more != NULL && extra < 16);
        extras[extra++] = more;
    } while (hk_run_mapped_bytes() == mapped);
    CHECK(hk_run_mapped_bytes() - mapped == 8 * MIB);
    check_all();
    CHECK(hk_run_allocate(10 * MIB, 1, &fresh) == NULL ||
          hk_run_mapped_bytes() - mapped == 8 * MIB);
    fake_os.most_bytes = 0;
    while (extra > 0)
        CHECK(hk_run_free(extras[--extra]));
    /* Those without a block go, the others stay. */
    while (count > 1)
        CHECK(hk_run_free(runs[--count]));
    (void)hk_run_purge(0);
    check_all();
    CHECK(hk_runs->area_count == 1 && hk_runs->areas == runs[0]->area);
    CHECK(hk_run_free(runs[0]));
    check_empty();
}

static void test_no_memory(void)
{
    for (uint64_t n = 0;; n++) {
        CHECK(n < 100);
        bool fresh;
        fake_os_fail_after(n);
        hk_run_t *run = hk_run_allocate(3 * MIB, 1, &fresh);
        fake_os_heal();
        check_all();
        if (run != NULL) {
            CHECK(n >= 2 && fresh && hk_run_free(run));
            check_empty();
            break;
        }
        CHECK(hk_runs->area_count == 0 && fake_os.mapped_bytes - leaf_bytes() == base_mapped);
    }
    /* The limit allows the block, but not the descriptor too; or nothing. */
    bool fresh;
    hk_limit_set(HK_LIMIT_HARD, hk_limit_committed_bytes() + 3 * MIB);
    (void)hk_limit_release_reserve();
    CHECK(hk_run_allocate(3 * MIB, 1, &fresh) == NULL);
    check_all();
    hk_limit_set(HK_LIMIT_HARD, 1);
    (void)hk_run_purge(0);
    CHECK(hk_run_allocate(1, 1, &fresh) == NULL && hk_runs->area_count == 0);
    hk_limit_set(HK_LIMIT_HARD, 0);
    check_empty();
}

/* hak_check sees what is broken. */
static void test_check(void)
{
    hk_run_t *run = allocate(30, 1, true);
    hk_run_t *wall = allocate(1, 1, true);
    CHECK(hk_run_free(run));
    check_all();
    hk_runs->warm_bytes += 1;
    CHECK(hak_check() == 1);
    hk_runs->warm_bytes -= 1;
    run->dirty_pages--;
    CHECK(hak_check() == 1);
    run->dirty_pages++;
    run->is_free = 0;
    CHECK(hak_check() > 0);
    run->is_free = 1;
    wall->area->dirty[0] ^= 1;
    CHECK(hak_check() == 2); /* and so the warm bytes are wrong */
    wall->area->dirty[0] ^= 1;
    hk_runs->filled[1][0] ^= 1;
    CHECK(hak_check() == 1);
    hk_runs->filled[1][0] ^= 1;
    CHECK(hk_run_free(wall));
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

/* All of it with one size of pages. */
static void test_pages(size_t bytes)
{
    page_bytes = bytes;
    fake_os.page_bytes = bytes;
    base_charge = hk_limit_committed_bytes() - leaf_bytes();
    base_mapped = fake_os.mapped_bytes - leaf_bytes();
    test_merge();
    test_best_fit();
    test_dirty_first();
    test_hidden();
    test_fresh();
    test_alignment();
    test_resize();
    test_wrong();
    test_purge();
    test_purge_striped();
    test_maintain();
    test_areas();
    test_no_memory();
    test_check();
    test_random(bytes);
}

int main(void)
{
    /* The allocator's own memory, and the registry's leaf, are there before anything is counted. */
    void *first = hak_malloc(1);
    CHECK(first != NULL && hak_check() == 0);
    bool fresh;
    hk_run_t *run = hk_run_allocate(1, 1, &fresh);
    CHECK(run != NULL && hk_run_free(run));
    (void)hk_run_purge(0);
    test_bitrange();
    size_t system = (size_t)sysconf(_SC_PAGESIZE);
    test_pages(system);
    if (system < 16 * KIB)
        test_pages(16 * KIB);
    fake_os.page_bytes = 0;
    page_bytes = system;
    test_threads();
    hak_free(first);
    CHECK(hak_check() == 0);
    return 0;
}
