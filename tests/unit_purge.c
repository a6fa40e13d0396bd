/*
 * Giving back ends, however fast others free meanwhile: here each time the lock is open for a
 * purge, another thread frees some more.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "pool.h"
#include "run.h"

enum { RUNS = 8, RUN_BYTES = 128 << 10, SLABS = 8, PATIENCE = 1000 };

static unsigned purges;
static hk_pool_t pool;

/* As if another thread had allocated, dirtied and freed a run and a slab meanwhile. */
static void free_more(void)
{
    bool fresh;
    CHECKF(++purges < PATIENCE, " (it does not end)");
    fake_os.on_purge = NULL;
    hk_run_t *run = hk_run_allocate(RUN_BYTES, 1, &fresh);
    CHECK(run != NULL && hk_run_free(run));
    hk_slab_t *slab = hk_pool_acquire(&pool, NULL, 1, 0);
    CHECK(slab != NULL);
    hk_pool_release(slab, false);
    fake_os.on_purge = free_more;
}

static void test_runs(void)
{
    bool fresh;
    hk_run_t *runs[RUNS];
    for (int i = 0; i < RUNS; i++)
        CHECK((runs[i] = hk_run_allocate(RUN_BYTES, 1, &fresh)) != NULL);
    for (int i = 1; i < RUNS; i += 2)
        CHECK(hk_run_free(runs[i]));
    purges = 0;
    fake_os.on_purge = free_more;
    CHECK(hk_run_purge(0) >= RUNS / 2 * RUN_BYTES && purges >= RUNS / 2);
    fake_os.on_purge = NULL;
    for (int i = 0; i < RUNS; i += 2)
        CHECK(hk_run_free(runs[i]));
    (void)hk_run_purge(0);
    CHECK(hk_run_warm_bytes() == 0);
}

/* The program may have asked for huge pages in a long block: the pages that go are asked to be
 * small. */
static void test_advice(void)
{
    bool fresh;
    hk_run_t *run = hk_run_allocate(RUN_BYTES, 1, &fresh);
    CHECK(run != NULL);
    hk_run_t *rest = hk_run_allocate(HK_SUPERSLAB_BYTES / 2, 1, &fresh);
    hk_run_t *end = hk_run_allocate(RUN_BYTES, 1, &fresh);
    CHECK(rest != NULL && end != NULL && hk_run_free(rest));
    size_t small = fake_os.small_bytes;
    CHECK(hk_run_purge(1) > 0 && fake_os.small_bytes == small); /* too short for any */
    hk_run_t *longest = hk_run_allocate(2 * (size_t)HK_SUPERSLAB_BYTES, 1, &fresh);
    CHECK(longest != NULL && hk_run_free(longest));
    small = fake_os.small_bytes;
    size_t purged = hk_run_purge(1);
    CHECK(purged > HK_SUPERSLAB_BYTES && fake_os.small_bytes >= small + purged);
    CHECK(hk_run_free(run) && hk_run_free(end));
    (void)hk_run_purge(0);
}

static void test_slabs(void)
{
    hk_slab_t *slabs[SLABS];
    for (int i = 0; i < SLABS; i++)
        CHECK((slabs[i] = hk_pool_acquire(&pool, NULL, 1, 0)) != NULL);
    for (int i = 1; i < SLABS; i++)
        hk_pool_release(slabs[i], false);
    purges = 0;
    fake_os.on_purge = free_more;
    CHECK(hk_pool_purge(&pool, 0, 0) >= (SLABS - 1) * (size_t)HK_UNIT_BYTES && purges > 0);
    fake_os.on_purge = NULL;
    hk_pool_release(slabs[0], false);
    (void)hk_pool_purge(&pool, 0, 0);
    CHECK(pool.warm_units == 0);
}

int main(void)
{
    void *first = hak_malloc(1);
    CHECK(first != NULL);
    test_runs();
    test_advice();
    test_slabs();
    (void)hk_run_purge(0);
    hak_free(first);
    CHECK(hak_check() == 0);
    return 0;
}
