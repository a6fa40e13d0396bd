/*
 * The parts that areas are divided into: that a thread which finds the lock held again and again
 * goes on to another part, and others stay; that a block goes back to where it came from; that what
 * is free in one part serves all before the process grows; and that all parts give back.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "hold_up.h"
#include "page_runs.h"
#include "run.h"
#include "run_part.h"
#include "run_shelf.h"

enum { PAGES = 20, THREADS = 4, STEPS = 20000, SLOTS = 16 };

static void check_empty(void)
{
    CHECK(hak_check() == 0 && hk_run_used_bytes() == 0);
    (void)hk_run_purge(0);
    CHECK(hk_run_mapped_bytes() == 0 && hk_run_warm_bytes() == 0 && hak_check() == 0);
}

/* ---- A thread that waits again and again ---- */

static hk_run_t *left[2];

static bool take_once(void *argument)
{
    hk_run_t **held = argument;
    hk_run_t *before = *held;
    *held = allocate(PAGES);
    if (before != NULL)
        CHECK(hk_run_free(before));
    if ((*held)->area->part == hk_runs)
        return false;
    left[0] = *held;
    (void)hk_run_purge(0);
    left[1] = allocate(PAGES); /* here it stays, though nobody is in the way */
    return true;
}

static void move(void)
{
    hk_run_t *held = NULL;
    int turns = hold_up(&hk_runs->lock, HK_RANK_RUNS, take_once, &held);
    /* Every other thread's turn is to stay, and to come again. */
    CHECKF(turns > 2 && turns < 16, " (%d)", turns);
    CHECK(left[0]->area->part == &hk_runs[1] && left[1]->area->part == &hk_runs[1]);
    CHECK(hk_run_area_next_part(&hk_runs[0]) == &hk_runs[1] &&
          hk_run_area_next_part(&hk_runs[1]) == NULL);
    CHECK(!hk_lock_is_held(&hk_runs[1].lock) && hak_check() == 0);
}

/* ---- Two parts ---- */

/* What the other thread has left behind lies in the second part; this thread uses the first. */
static void test_serves_all(void)
{
    hk_run_t *own = allocate(PAGES);
    CHECK(own->area->part == hk_runs);
    CHECK(hk_run_find(left[0]->area, hk_run_address(left[0])) == left[0]);
    CHECK(hk_run_free(left[0]) && !hk_run_free(left[0]));
    (void)hk_run_purge(hk_runs[1].warm_bytes); /* nothing resident but there */
    CHECK(hk_runs[0].warm_bytes == 0 && hk_runs[1].warm_bytes >= PAGES * page_bytes);
    hk_run_t *warm = allocate(PAGES); /* not pages that are not resident */
    CHECK(warm->area->part == &hk_runs[1] && hk_runs[1].warm_bytes % (PAGES * page_bytes) == 0);
    (void)hk_run_purge(0);
    hk_run_t *clean = allocate(PAGES);
    CHECK(clean->area->part == hk_runs && hak_check() == 0);
    CHECK(hk_run_free(warm) && hk_run_free(clean) && hk_run_free(own));
    CHECK(hk_run_free(left[1]));
    check_empty();
}

/* Of the part that has most more goes, and of both all. */
static void test_gives_back(void)
{
    hk_run_t *wall = allocate(1);
    CHECK(hk_run_free(left[0]));
    size_t warm = hk_run_warm_bytes();
    CHECK(hk_runs[1].warm_bytes == warm && hk_run_free(wall));
    size_t own = hk_runs[0].warm_bytes;
    CHECK(own == page_bytes && hk_run_purge(2 * page_bytes) == warm + own - 2 * page_bytes);
    CHECK(hk_runs[0].warm_bytes == own && hk_runs[1].warm_bytes == page_bytes);
    (void)hk_run_purge(0);
    CHECK(hk_run_warm_bytes() == 0 && hk_runs[1].mapped_bytes != 0 && hk_run_free(left[1]));
    check_empty();
}

/* A shelf has blocks of both parts; both locks are taken, one after the other. */
static void test_shelf(void)
{
    hk_run_shelf_t shelf = {0};
    hk_run_t *own = allocate(PAGES);
    for (unsigned i = 0; i < 4096 && shelf.granted_pages == 0; i++)
        hk_run_shelf_note_free(&shelf);
    CHECK(shelf.granted_pages != 0 && own->area->part != left[0]->area->part);
    CHECK(hk_run_shelf_put(&shelf, left[0]) && hk_run_shelf_put(&shelf, own));
    CHECK(hk_run_shelf_put(&shelf, left[1]) && hak_check() == 0);
    hk_run_shelf_end(&shelf);
    CHECK(!hk_lock_is_held(&hk_runs[0].lock) && !hk_lock_is_held(&hk_runs[1].lock));
    check_empty();
}

/* ---- Threads ---- */

static void *_Atomic shared[SLOTS];

/* Blocks change hands, so that threads free into all parts. */
static void *hand_over(void *argument)
{
    test_rng_t rng = test_rng((uint64_t)(uintptr_t)argument);
    for (int step = 0; step < STEPS; step++) {
        size_t size = 64 * KIB + 1 + test_below(&rng, 200 * KIB);
        char *block = hak_malloc(size);
        CHECK(block != NULL);
        block[0] = block[size - 1] = 1;
        hak_free(atomic_exchange(&shared[test_below(&rng, SLOTS)], block));
        if (step % 1024 == 0)
            CHECK(hak_check() == 0);
        if (step % 512 == 0)
            (void)hk_run_purge(test_below(&rng, 2) == 0 ? 0 : test_below(&rng, 4 * MIB));
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(hand_over, (void *)(i + 1));
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    for (size_t i = 0; i < SLOTS; i++)
        hak_free(atomic_exchange(&shared[i], NULL));
    (void)hak_trim(0);
    CHECK(hak_check() == 0 && hk_run_used_bytes() == 0 && hk_run_warm_bytes() == 0);
}

int main(void)
{
    page_bytes = hk_os_page_bytes();
    void *first = hak_malloc(1);
    CHECK(first != NULL);
    fake_os.main_thread = false;
    move();
    test_serves_all();
    move();
    test_gives_back();
    move();
    test_shelf();
    test_threads();
    hak_free(first);
    CHECK(hak_check() == 0);
    return 0;
}
