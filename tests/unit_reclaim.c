/*
 * Two threads are short of memory at the hard limit.  What the one is giving back still counts
 * until it is gone, and the other one, which finds nothing left to give back, waits for that.
 */
#include "fake_os.h"

#include "test.h"

#include <hakmem/hakmem.h>

#include "limit.h"
#include "run.h"

enum { EARLY = 8, LARGE_BYTES = 28 << 20, SMALL_BYTES = 100 << 10 };

static atomic_bool begun, tries, tried;

/* The first one waits until the other thread has tried, or cannot, for it waits for this one. */
static void wait_for_other(void)
{
    if (atomic_exchange(&begun, true)) {
        return;
    }
    for (int i = 0; i < 100 && !(atomic_load(&tries) && atomic_load(&tried)); i++) {
        usleep(2000);
    }
}

static void *trim(void *argument)
{
    CHECK(hak_trim(0) != 0);
    return argument;
}

/* As a step or a peak does, without the lock of those that reclaim. */
static void *purge(void *argument)
{
    CHECK(hk_run_purge(1) != 0);
    return argument;
}

static void refused_beside(void *(*give_back)(void *))
{
    void *large = hak_malloc(LARGE_BYTES);
    CHECK(large != NULL);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed() + (2 << 20)) == 0);
    (void)hak_limit_release_reserve();
    void *small =
        hak_realloc(large, SMALL_BYTES); /* where it is: the rest is purged, not unmapped */
    CHECK(small != NULL);
    CHECK(hak_limit_committed() >= LARGE_BYTES);
    atomic_store(&begun, false);
    atomic_store(&tries, false);
    atomic_store(&tried, false);
    fake_os.on_purge = wait_for_other;
    pthread_t thread = test_thread(give_back, NULL);
    while (!atomic_load(&begun)) {
        usleep(1000);
    }
    atomic_store(&tries, true);
    void *wanted = hak_malloc(LARGE_BYTES + (1 << 20));
    atomic_store(&tried, true);
    test_join(thread);
    CHECK(wanted != NULL);
    fake_os.on_purge = NULL;
    hak_free(wanted);
    hak_free(small);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    (void)hak_trim(0);
}

int main(void)
{
    for (size_t i = 0; i < EARLY; i++) { /* which are mappings of their own */
        hak_free(hak_malloc(SMALL_BYTES));
    }
    refused_beside(trim);
    refused_beside(purge);
    return 0;
}
