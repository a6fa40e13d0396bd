/*
 * What a thread has freed and does not use goes back while it uses something else, step by step, by
 * the thread itself: out of its heap's depots, and out of its slabs into the pool.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "heaps.h"
#include "policy.h"
#include "thread.h"
#include "stats_now.h"

enum { PEAK_BYTES = 16 << 20, BLOCKS = 2000, BLOCK_BYTES = 2300, OTHER_BYTES = 100000 };

static void free_many(void)
{
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = hak_malloc(BLOCK_BYTES)) != NULL);
    for (int i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
}

/* A thread lingers as long as its sparse slabs have something to give back: no longer than until
 * that is holes. */
static void linger_until_holes(void)
{
    enum { SPARSE = 10000, SPARSE_BYTES = 5000, KEPT = 10 };
    static char *sparse[SPARSE];
    for (int i = 0; i < SPARSE; i++)
        CHECK((sparse[i] = hak_malloc(SPARSE_BYTES)) != NULL);
    for (int i = 0; i < SPARSE; i++)
        if (i % KEPT != 0)
            hak_free(sparse[i]);
    bool lingered = false;
    int rounds = 0;
    do {
        CHECKF(++rounds < 10000, " (%zu bytes are holes)", (size_t)stats_now().hole_bytes);
        fake_os_advance(10);
        void *other = hak_malloc(100);
        CHECK(other != NULL);
        hak_free(other);
        lingered |= hk_thread_own->linger_uses > 0;
    } while (hk_thread_own->linger_uses > 0 || !lingered);
    CHECK(stats_now().hole_bytes > SPARSE / 2 * (uint64_t)SPARSE_BYTES);
    for (int i = 0; i < SPARSE; i += KEPT)
        hak_free(sparse[i]);
}

/* What is free in runs goes before a block that is large beside the process and fits none of them;
 * before others it stays. */
static void make_way_for_a_large_block(void)
{
    enum { RUNS = 50, RUN_BYTES = 300000, FREED = 5, LARGE_BYTES = 4 << 20 };
    void *runs[RUNS];
    for (int i = 0; i < RUNS; i++)
        CHECK((runs[i] = hak_malloc(RUN_BYTES)) != NULL);
    for (int i = RUNS / 2; i < RUNS; i += FREED) {
        hak_free(runs[i]);
        runs[i] = NULL;
    }
    hak_stats_t before = stats_now();
    CHECK(before.run_warm_bytes > hk_policy_warm_beside_bytes(before.committed_bytes));
    void *small = hak_malloc(RUN_BYTES * 2);
    CHECK(small != NULL && stats_now().run_warm_bytes == before.run_warm_bytes);
    void *large = hak_malloc(LARGE_BYTES);
    CHECK(large != NULL);
    hak_stats_t after = stats_now();
    CHECKF(after.run_warm_bytes <= hk_policy_warm_beside_bytes(after.committed_bytes),
           " (%zu of %zu, %zu committed)", (size_t)after.run_warm_bytes,
           (size_t)before.run_warm_bytes, (size_t)after.committed_bytes);
    CHECK(after.purged_bytes > before.purged_bytes);
    hak_free(small);
    hak_free(large);
    for (int i = 0; i < RUNS; i++)
        hak_free(runs[i]);
}

/* What is kept of direct mappings goes before a run that is large beside the process, as much as it
 * takes anew; before others it stays. */
static void make_way_in_kept_mappings(void)
{
    enum { KEPT_BYTES = 40 << 20, RUN_BYTES = (20 << 20) - 100, SMALL_BYTES = 512 << 10 };
    void *peak = hak_malloc(4 * KEPT_BYTES); /* at a new one kept mappings might go anyway */
    CHECK(peak != NULL);
    hak_free(peak);
    void *kept = hak_malloc(KEPT_BYTES);
    CHECK(kept != NULL);
    hak_free(kept);
    hak_stats_t before = stats_now();
    CHECKF(before.large_cached_bytes >= KEPT_BYTES, " (%zu)", (size_t)before.large_cached_bytes);
    void *small = hak_malloc(SMALL_BYTES);
    CHECK(small != NULL && stats_now().large_cached_bytes == before.large_cached_bytes);
    void *run = hak_malloc(RUN_BYTES);
    CHECK(run != NULL);
    hak_stats_t after = stats_now();
    size_t gone = (size_t)(before.large_cached_bytes - after.large_cached_bytes);
    CHECKF(gone > RUN_BYTES / 2 && gone <= RUN_BYTES + RUN_BYTES / 8, " (%zu of %zu)", gone,
           (size_t)before.large_cached_bytes);
    CHECK(after.committed_bytes < before.committed_bytes + RUN_BYTES / 2);
    hak_free(small);
    hak_free(run);
}

/* A slow path that leaves the class alone: a run of pages. */
static void use_other(void)
{
    void *other = hak_malloc(OTHER_BYTES);
    CHECK(other != NULL);
    hak_free(other);
}

int main(void)
{
    void *peak = hak_malloc(PEAK_BYTES); /* so that depots are not dissolved at a peak */
    CHECK(peak != NULL);
    hak_free(peak);
    free_many();
    hak_stats_t before = stats_now();
    CHECK(before.depot_bytes >= hk_policy_depot_bytes(0) &&
          before.depot_bytes < BLOCKS / 2 * (uint64_t)BLOCK_BYTES);
    use_other();
    CHECK(stats_now().depot_bytes == before.depot_bytes); /* it might be used again at once */
    for (int step = 0; step < 100; step++) {
        fake_os_advance(HK_DECAY_MS);
        use_other();
    }
    hak_stats_t after = stats_now();
    CHECK(after.depot_bytes == 0);
    CHECK(after.committed_bytes < before.committed_bytes / 2);
    make_way_for_a_large_block();
    make_way_in_kept_mappings();
    linger_until_holes();
    free_many(); /* and all is well */
    CHECK(hak_check() == 0);
    return 0;
}
