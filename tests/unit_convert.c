/*
 * What a program has freed in one kind of blocks serves it for the other: free runs become
 * superslabs, and empty superslabs free runs, without the system.  What it uses again and again
 * stays what it is.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "convert.h"
#include "fake_os.h"
#include "lend.h"
#include "limit.h"
#include "meta.h"
#include "pool_part.h"
#include "run.h"
#include "stats_now.h"

enum {
    NODE_BYTES = 1000,
    RUN_BYTES = 1 << 20,
    TOTAL_BYTES = 48 << 20,
    NODES = TOTAL_BYTES / NODE_BYTES,
    RUNS = TOTAL_BYTES / RUN_BYTES,
    ROUNDS = 40,
};

static char *nodes[NODES];
static char *runs[RUNS];

static void take(char **blocks, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = hak_malloc(size);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], size, i);
    }
}

/* Frees those whose number is not a multiple of stay, and checks the others. */
static void drop(char **blocks, size_t count, size_t size, size_t stay)
{
    for (size_t i = 0; i < count; i++) {
        CHECK_PATTERN(blocks[i], size, size, i);
        if (stay == 0 || i % stay != 0)
            hak_free(blocks[i]);
    }
}

static void start(void)
{
    (void)hak_trim(0);
    test_use_up_apart(hak_malloc, hak_free);
}

/* All that was free and resident in one kind is used for the other. */
static void test_runs_to_slabs(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    uint64_t committed = stats_now().committed_bytes;
    uint64_t mapped = stats_now().mapped_bytes;
    uint64_t converted = stats_now().converted_superslabs;
    take(nodes, NODES, NODE_BYTES);
    hak_stats_t now = stats_now();
    CHECK(now.converted_superslabs - converted > TOTAL_BYTES / HK_SUPERSLAB_BYTES / 2);
    CHECKF(now.committed_bytes < committed + TOTAL_BYTES / 4, " (%llu, was %llu)",
           (unsigned long long)now.committed_bytes, (unsigned long long)committed);
    CHECK(now.mapped_bytes < mapped + TOTAL_BYTES / 2);
    CHECK(now.run_warm_resident_bytes <= now.run_warm_bytes); /* lent ones are the slabs' */
    CHECK(hak_check() == 0);
    drop(nodes, NODES, NODE_BYTES, 0);
    CHECK(hak_check() == 0);
}

static void test_slabs_to_runs(void)
{
    start();
    take(nodes, NODES, NODE_BYTES);
    drop(nodes, NODES, NODE_BYTES, 0);
    uint64_t committed = stats_now().committed_bytes;
    uint64_t converted = stats_now().converted_superslabs;
    take(runs, RUNS, RUN_BYTES);
    hak_stats_t now = stats_now();
    CHECK(now.converted_superslabs - converted > TOTAL_BYTES / HK_SUPERSLAB_BYTES / 2);
    CHECKF(now.committed_bytes < committed + TOTAL_BYTES / 4, " (%llu, was %llu)",
           (unsigned long long)now.committed_bytes, (unsigned long long)committed);
    CHECK(hak_check() == 0);
    drop(runs, RUNS, RUN_BYTES, 0);
    CHECK(hak_check() == 0);
}

/* One superslab, lent and given back in both ways: its live bits are clear, its pages counted
 * once. */
static void test_one(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    hk_loan_t loan;
    CHECK(!hk_lend_slot(&loan)); /* the slabs have not grown yet */
    size_t committed = hk_limit_committed_bytes() - hk_meta_bytes();
    size_t warm = hk_run_warm_bytes();
    size_t slot_bytes = HK_SUPERSLAB_BYTES; /* what of the slot is resident */
    for (int purge = 0; purge < 2; purge++) {
        hk_superslab_t *superslab = hk_superslab_allocate(hk_pool_parts, HK_UNIT_BYTES, true);
        CHECK(superslab != NULL && superslab->area != NULL);
        CHECK(test_is_filled_with(superslab->base, 0, HK_LIVE_BYTES));
        CHECK(hk_registry_find(superslab->base) == &superslab->region);
        CHECK(superslab->dirty_units == UINT32_MAX - 1 && !superslab->idle_dirty);
        CHECK(hk_run_warm_bytes() == warm - slot_bytes);
        committed -= slot_bytes;
        slot_bytes = HK_SUPERSLAB_BYTES - HK_IDLE_BYTES; /* the idle part has gone back */
        CHECK(hk_limit_committed_bytes() - hk_meta_bytes() == committed + slot_bytes);
        CHECK(hak_check() == 0);
        if (purge != 0)
            hk_superslab_free(superslab);
        else
            hk_superslab_give_back(superslab);
        warm -= purge != 0 ? slot_bytes : HK_IDLE_BYTES;
        committed += purge != 0 ? 0 : slot_bytes;
        CHECK(hk_run_warm_bytes() == warm);
        CHECK(hk_limit_committed_bytes() - hk_meta_bytes() == committed);
        CHECK(hak_check() == 0);
    }
}

/* By turns, with blocks that stay.  In the end all goes back to the system. */
static void test_turns(void)
{
    start();
    size_t committed = hk_limit_committed_bytes();
    size_t mapped = fake_os.mapped_bytes - hk_meta_bytes();
    enum { TURNS = 6, STAY = 16 };
    static char *kept_nodes[TURNS][NODES], *kept_runs[TURNS][RUNS];
    for (int turn = 0; turn < TURNS; turn++) {
        take(kept_runs[turn], RUNS / 2, RUN_BYTES);
        drop(kept_runs[turn], RUNS / 2, RUN_BYTES, STAY);
        take(kept_nodes[turn], NODES / 2, NODE_BYTES);
        drop(kept_nodes[turn], NODES / 2, NODE_BYTES, STAY * 256); /* some superslabs get empty */
        CHECK(hak_check() == 0);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < NODES / 2; i += STAY * 256)
            hak_free(kept_nodes[turn][i]);
        for (size_t i = 0; i < RUNS / 2; i += STAY)
            hak_free(kept_runs[turn][i]);
    }
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
    CHECK(hk_run_mapped_bytes() == 0 && hk_superslab_count() == 0);
    CHECKF(hk_limit_committed_bytes() <= committed + 64 * KIB, " (%zu, was %zu)",
           hk_limit_committed_bytes(), committed);
    CHECK(fake_os.mapped_bytes - hk_meta_bytes() <= mapped + 64 * KIB);
}

/* A buffer that comes and goes while the slabs grow is not lent to them; nodes that come and go
 * while the runs grow do not become runs. */
static void test_in_use_again(void)
{
    static char *kept[ROUNDS][NODES / ROUNDS];
    start();
    uint64_t converted = stats_now().converted_superslabs;
    for (int i = 0; i < ROUNDS; i++) {
        char *buffer = hak_malloc(8 << 20);
        CHECK(buffer != NULL);
        hak_free(buffer);
        take(kept[i], NODES / ROUNDS, NODE_BYTES);
    }
    CHECK(stats_now().converted_superslabs == converted);
    for (int i = 0; i < ROUNDS; i++)
        drop(kept[i], NODES / ROUNDS, NODE_BYTES, 0);
    start();
    converted = stats_now().converted_superslabs;
    for (int i = 0; i < RUNS; i++) {
        take(nodes, NODES / 4, NODE_BYTES);
        drop(nodes, NODES / 4, NODE_BYTES, 0);
        take(runs + i, 1, RUN_BYTES);
    }
    CHECK(stats_now().converted_superslabs == converted);
    for (int i = 0; i < RUNS; i++)
        hak_free(runs[i]);
}

/* What becomes a superslab is not zero; calloc and the live bits must not rely on it. */
static void test_content(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    uint64_t converted = stats_now().converted_superslabs;
    for (size_t i = 0; i < NODES; i++) {
        nodes[i] = hak_calloc(1, NODE_BYTES);
        CHECK(nodes[i] != NULL && test_is_filled_with(nodes[i], 0, NODE_BYTES));
        test_fill(nodes[i], NODE_BYTES, i);
    }
    CHECK(stats_now().converted_superslabs > converted);
    drop(nodes, NODES, NODE_BYTES, 0);
    start(); /* so that these are not lent */
    take(nodes, NODES, NODE_BYTES);
    drop(nodes, NODES, NODE_BYTES, 0);
    converted = stats_now().converted_superslabs;
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = hak_calloc(1, RUN_BYTES);
        CHECK(runs[i] != NULL && test_is_filled_with(runs[i], 0, RUN_BYTES));
    }
    CHECK(stats_now().converted_superslabs > converted);
    for (size_t i = 0; i < RUNS; i++)
        hak_free(runs[i]);
}

static void use_nodes(void)
{
    take(nodes, NODES, NODE_BYTES);
    drop(nodes, NODES, NODE_BYTES, 0);
    (void)hak_trim(TOTAL_BYTES); /* out of depots and heaps, into the pool */
}

/* Superslabs stay what they are while slabs need them, and where there is no memory for the area's
 * descriptor. */
static void test_not_now(void)
{
    start();
    use_nodes();
    CHECK(!hk_convert_to_runs(hk_runs, RUN_BYTES)); /* the first question: counts from now on */
    use_nodes();
    CHECK(!hk_convert_to_runs(hk_runs, RUN_BYTES)); /* they were needed */
    size_t warm = hk_pool_part_warm_bytes();
    uint64_t superslabs = hk_superslab_count();
    fake_os_fail_after(0);
    CHECK(!hk_convert_to_runs(hk_runs, RUN_BYTES) && fake_os.failures > 0);
    fake_os_heal();
    CHECK(hk_pool_part_warm_bytes() == warm && hk_superslab_count() == superslabs);
    CHECK(hak_check() == 0);
    CHECK(hk_convert_to_runs(hk_runs, RUN_BYTES));
    CHECK(hk_pool_part_warm_bytes() < warm && hk_superslab_count() < superslabs);
    CHECK(hk_run_warm_bytes() >= RUN_BYTES);
    CHECK(hak_check() == 0);
}

/* Where the system takes no pages back, what has become something else counts as resident still. */
static void test_no_purge(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    take(nodes, NODES, NODE_BYTES);
    drop(nodes, NODES, NODE_BYTES, 0);
    fake_os_fail_after(0);
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
    size_t resident = hk_run_warm_bytes() + hk_pool_part_warm_bytes();
    fake_os_heal();
    CHECK(hk_limit_committed_bytes() >= resident);
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
    CHECK(hk_run_mapped_bytes() == 0 && hk_superslab_count() == 0);
}

int main(void)
{
    CHECK(hk_lend_is_possible());
    test_one();
    test_runs_to_slabs();
    test_slabs_to_runs();
    test_in_use_again();
    test_content();
    test_turns();
    test_not_now();
    test_no_purge();
    return 0;
}
