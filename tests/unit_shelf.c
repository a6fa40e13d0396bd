/*
 * A thread's shelf of free runs: when the thread gets one, which run serves a request, what is said
 * of a block that lies on a shelf, what becomes of a free by two threads at the same moment, and
 * that everything goes back.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <sys/wait.h>

#include "limit.h"
#include "os.h"
#include "page_runs.h"
#include "run.h"
#include "run_shelf.h"

enum { RUNS = 64 };

static void grant(hk_run_shelf_t *shelf)
{
    hk_run_t *run = allocate(17);
    CHECK(!hk_run_shelf_put(shelf, run)); /* not granted yet */
    CHECK(hk_run_free(run));
    for (unsigned i = 0; i < 4096 && shelf->granted_pages == 0; i++) {
        hk_run_shelf_note_free(shelf);
    }
    CHECK(shelf->granted_pages == HK_SHELF_BYTES / page_bytes);
}

static void test_fit(void)
{
    hk_run_shelf_t shelf = {0};
    grant(&shelf);
    hk_run_t *exact = allocate(32), *longer = allocate(34), *far = allocate(40);
    CHECK(hk_run_shelf_put(&shelf, far) && hk_run_shelf_put(&shelf, longer));
    CHECK(hk_run_shelf_put(&shelf, exact));
    CHECK(hk_run_shelf_pages(&shelf) == 106 && hak_check() == 0);
    CHECK(hk_run_shelf_take(&shelf, 32 * page_bytes - 1) == exact);
    CHECK(hk_run_shelf_take(&shelf, 32 * page_bytes) == longer); /* a sixteenth too many */
    CHECK(hk_run_shelf_take(&shelf, 32 * page_bytes) == NULL);
    CHECK(hk_run_shelf_take(&shelf, 41 * page_bytes) == NULL);
    CHECK(hk_run_free(exact) && hk_run_free(longer) && !hk_run_free(far));
    hk_run_shelf_end(&shelf);
    CHECK(hk_run_used_bytes() == 0 && hak_check() == 0);
}

/* What lies on a shelf is no block to anybody. */
static void test_found(void)
{
    hk_run_shelf_t shelf = {0};
    grant(&shelf);
    hk_run_t *run = allocate(20);
    hk_run_area_t *area = run->area;
    char *address = hk_run_address(run);
    CHECK(hk_run_shelf_put(&shelf, run));
    CHECK(hk_run_find(area, address) == NULL && !hk_run_free(run));
    CHECK(!hk_run_covers(area, address) && !hk_run_covers(area, address + page_bytes));
    CHECK(hk_run_shelf_take(&shelf, 20 * page_bytes) == run);
    CHECK(hk_run_find(area, address) == run && hk_run_covers(area, address + page_bytes));
    CHECK(hk_run_shelf_put(&shelf, run));
    hk_run_shelf_empty(&shelf);
    CHECK(hk_run_find(area, address) == NULL && hk_run_used_bytes() == 0);
    hk_run_shelf_end(&shelf);
}

/* No more than the grant, no large ones; half goes when there is no room. */
static void test_room(void)
{
    hk_run_shelf_t shelf = {0};
    hk_run_t *runs[RUNS];
    grant(&shelf);
    for (unsigned i = 0; i < RUNS; i++)
        runs[i] = allocate(17);
    hk_run_t *large = allocate(shelf.granted_pages / 2);
    CHECK(!hk_run_shelf_put(&shelf, large) && hk_run_free(large));
    unsigned put = 0;
    while (put < RUNS && hk_run_shelf_put(&shelf, runs[put]))
        put++;
    CHECK(put > 0 && put <= HK_RUN_SHELF_SLOTS);
    CHECK(hk_run_shelf_pages(&shelf) <= shelf.granted_pages);
    hk_run_shelf_note_free(&shelf);
    CHECK(hk_run_shelf_pages(&shelf) <= shelf.granted_pages / 2);
    CHECK(!hk_run_shelf_is_empty(&shelf) && hak_check() == 0);
    for (; put < RUNS; put++)
        CHECK(hk_run_free(runs[put]));
    CHECK(!hk_run_shelf_is_over(&shelf, shelf.epoch_ms + HK_DECAY_MS - 1));
    CHECK(hk_run_shelf_is_over(&shelf, shelf.epoch_ms + HK_DECAY_MS));
    hk_run_shelf_end(&shelf);
    CHECK(hk_run_used_bytes() == 0 && hak_check() == 0);
}

/* What is put there and not taken is better off in the areas. */
static void test_useless(void)
{
    hk_run_shelf_t shelf = {0};
    grant(&shelf);
    for (unsigned i = 0; i < 1000 && shelf.granted_pages != 0; i++) {
        hk_run_t *run = allocate(17);
        if (!hk_run_shelf_put(&shelf, run)) {
            CHECK(hk_run_free(run));
            hk_run_shelf_note_free(&shelf);
        }
    }
    CHECK(shelf.granted_pages == 0 && shelf.was_useless && hk_run_used_bytes() == 0);
    for (unsigned i = 0; i < 100; i++)
        hk_run_shelf_note_free(&shelf);
    CHECK(shelf.granted_pages == 0);
    grant(&shelf); /* after many more */
    hk_run_shelf_end(&shelf);
}

/* All shelves together are a small part. */
static void test_grants(void)
{
    static hk_run_shelf_t shelves[1000];
    size_t granted = 0;
    for (unsigned i = 0; i < 1000; i++) {
        for (unsigned j = 0; j < 100; j++)
            hk_run_shelf_note_free(&shelves[i]);
        granted += shelves[i].granted_pages != 0;
    }
    CHECK(granted > 0);
    CHECK(granted * HK_SHELF_BYTES <= hk_policy_shelves_bytes(hk_limit_committed_bytes(), 0));
    for (unsigned i = 0; i < 1000; i++)
        hk_run_shelf_end(&shelves[i]);
    hk_run_shelf_t after = {0};
    grant(&after);
    hk_run_shelf_end(&after);
}

/* Both threads have seen a live block, so it lies in two places; the one that hands it out second
 * says so. */
static void check_twice(bool by_areas)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(freopen("/dev/null", "w", stderr) != NULL);
        hk_run_shelf_t one = {0}, two = {0};
        grant(&one);
        grant(&two);
        hk_run_t *run = allocate(20);
        CHECK(hk_run_shelf_put(&one, run));
        hk_store_relaxed(&run->shelf, 0); /* what the other thread has seen */
        CHECK(by_areas ? hk_run_free(run) : hk_run_shelf_put(&two, run));
        if (by_areas)
            hk_store_relaxed(&run->shelf, one.id);
        (void)hk_run_shelf_take(&one, 20 * page_bytes);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    page_bytes = hk_os_page_bytes();
    void *first = hak_malloc(1);
    CHECK(first != NULL);
    test_fit();
    test_found();
    test_room();
    test_useless();
    test_grants();
    check_twice(false);
    check_twice(true);
    hak_free(first);
    CHECK(hak_check() == 0);
    return 0;
}
