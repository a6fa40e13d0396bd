/*
 * Runs of pages: which free run a block is cut from, what is merged, when a block is fresh, and
 * what the limit is charged, on the system's pages and on larger ones.  hak_check counts all
 * structures again.
 */
#include "run_checks.h"

#include "policy.h"

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

/* A hole that is just large enough serves a block that is as large as its alignment. */
static void test_aligned_again(void)
{
    enum { PAGES = 64 };
    hk_run_t *runs[5];
    bool fresh;
    for (size_t i = 0; i < TEST_COUNT(runs); i++)
        CHECK((runs[i] = hk_run_allocate(PAGES * page_bytes, PAGES * page_bytes, &fresh)) != NULL);
    CHECK(hk_run_free(runs[2]));
    hk_run_t *again = hk_run_allocate(PAGES * page_bytes, PAGES * page_bytes, &fresh);
    CHECK(again == runs[2] && !fresh);
    check_all();
    for (size_t i = 0; i < TEST_COUNT(runs); i++)
        CHECK(hk_run_free(runs[i]));
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

static void test_all(void)
{
    test_merge();
    test_best_fit();
    test_dirty_first();
    test_hidden();
    test_fresh();
    test_alignment();
    test_aligned_again();
    test_resize();
    test_wrong();
    test_areas();
    test_no_memory();
    test_check();
}

int main(void)
{
    test_on_pages(test_all);
    return 0;
}
