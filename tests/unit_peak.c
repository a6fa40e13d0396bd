/*
 * What goes at a peak of the process.  A program that takes and frees the same memory all the time,
 * while something else grows, does not fault it in again and again.  One that has turned from some
 * sizes to others has what it does not use given back before it grows.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "options.h"
#include "peak.h"
#include "policy.h"
#include "stats_now.h"

enum {
    ROUNDS = 200,
    NODE_BYTES = 100,
    NODES = 80000,
    KEPT_NODES = 2000,
    KEPT_BYTES = 200000,
};

static void *take(size_t size)
{
    char *block = hak_malloc(size);
    CHECK(block != NULL);
    *(volatile char *)block = 1;
    return block;
}

/* What grows: many small blocks, or a large one.  Nobody frees them. */
static size_t keep_nodes(void)
{
    for (int i = 0; i < KEPT_NODES; i++)
        (void)take(NODE_BYTES);
    return (size_t)KEPT_NODES * NODE_BYTES;
}

static size_t keep_run(void)
{
    (void)take(KEPT_BYTES);
    return KEPT_BYTES;
}

/* What comes and goes. */
static void take_and_free(void **blocks, int count, size_t size)
{
    for (int i = 0; i < count; i++)
        blocks[i] = take(size);
    for (int i = 0; i < count; i++)
        hak_free(blocks[i]);
}

static void use_nodes(void)
{
    static void *nodes[NODES];
    take_and_free(nodes, NODES, NODE_BYTES);
}

static void use_run(void)
{
    hak_free(take(8 * MIB));
}

static void use_mapping(void)
{
    hak_free(take(40 * MIB));
}

/* What is given back while `keep` grows and `use` comes and goes: some, but no more than what the
 * pace takes to learn it, and the growth.  Nothing more is committed than the growth and what is
 * used. */
static void give_little(const char *what, void (*use)(void), size_t (*keep)(void), size_t learning)
{
    size_t grown = 0;
    test_use_up_apart(hak_malloc, hak_free);
    use();
    uint64_t before = stats_now().purged_bytes;
    uint64_t committed = stats_now().committed_bytes;
    for (int i = 0; i < ROUNDS; i++) {
        grown += keep();
        use();
    }
    size_t purged = (size_t)(stats_now().purged_bytes - before);
    CHECKF(purged > 0 && purged <= learning + grown, " (%s: %zu KiB purged, %zu grown)", what,
           purged / 1024, grown / 1024);
    committed = stats_now().committed_bytes - committed;
    CHECKF(committed <= grown + 2 * HK_DECAY_STEP_BYTES, " (%s: %zu KiB)", what,
           (size_t)committed / 1024);
    CHECK(hak_check() == 0);
}

/* Free runs go while nodes grow, all but a sixteenth and what the last step leaves. */
static void give_idle_runs(void)
{
    enum { RUNS = 100, RUN_BYTES = 500000 };
    static void *runs[RUNS];
    take_and_free(runs, RUNS, RUN_BYTES);
    hak_stats_t before = stats_now();
    CHECKF(before.run_warm_bytes > before.committed_bytes / 4, " (%zu of %zu)",
           (size_t)before.run_warm_bytes, (size_t)before.committed_bytes);
    uint64_t most = before.committed_bytes;
    for (size_t grown = 0; grown < (size_t)RUNS * RUN_BYTES; grown += keep_nodes()) {
        uint64_t now = stats_now().committed_bytes;
        most = now > most ? now : most;
    }
    hak_stats_t after = stats_now();
    CHECKF(after.run_warm_bytes <= after.committed_bytes / 16 + HK_DECAY_STEP_BYTES,
           " (%zu of %zu)", (size_t)after.run_warm_bytes, (size_t)after.committed_bytes);
    CHECKF(most <= before.committed_bytes + 2 * HK_DECAY_STEP_BYTES, " (%zu, %zu before)",
           (size_t)most, (size_t)before.committed_bytes);
}

static void run_beside_nodes(void)
{
    give_little("a run, nodes grow", use_run, keep_nodes, 2 * HK_DECAY_STEP_BYTES);
}

static void nodes_beside_runs(void)
{
    give_little("nodes, runs grow", use_nodes, keep_run, 2 * HK_DECAY_STEP_BYTES);
}

static void mapping_beside_nodes(void)
{
    give_little("a mapping, nodes grow", use_mapping, keep_nodes, 2 * (size_t)HK_PEAK_KEPT_BYTES);
}

/* A block in runs comes and goes while a mapping grows. */
static char *grow_beside_run(char *vector, size_t *bytes, int often)
{
    enum { FEW = 100 };
    for (int i = 0; i < often; i++) {
        hak_free(take(24 * MIB));
        vector = hak_realloc(vector, *bytes += MIB / 2);
        CHECK(vector != NULL);
        for (int few = 0; few < FEW; few++)
            (void)take(NODE_BYTES);
    }
    return vector;
}

/* Free blocks in slabs, and empty slabs. */
static size_t warm_slab_bytes(void)
{
    hak_stats_t now = stats_now();
    return (size_t)(now.pool_warm_bytes + now.slab_free_bytes);
}

/* The place that has most, runs, has learnt to give little.  The next one gives all the same: slabs
 * of nodes that were freed once. */
static void give_of_the_next(void)
{
    enum { OFTEN = 40, FREED = 180000 };
    static void *nodes[FREED];
    size_t bytes = 3 * MIB;
    test_use_up_apart(hak_malloc, hak_free);
    char *vector = hak_realloc(take(bytes - MIB), bytes);
    CHECK(vector != NULL);
    vector = grow_beside_run(vector, &bytes, OFTEN);
    take_and_free(nodes, FREED, NODE_BYTES);
    size_t committed = (size_t)stats_now().committed_bytes;
    size_t warm = warm_slab_bytes();
    CHECKF(warm > committed / 6, " (%zu of %zu)", warm, committed);
    vector = grow_beside_run(vector, &bytes, OFTEN);
    CHECKF(warm_slab_bytes() < warm / 2, " (%zu, %zu before)", warm_slab_bytes(), warm);
    hak_free(vector);
}

/* A block that was never touched, and is gone, was no peak of memory. */
static void untouched(void)
{
    enum { HUGE_BYTES = 1 << 30, STEP_MS = 10 };
    fake_os.peak_resident_bytes = 70 * MIB;
    hak_free(hak_malloc(HUGE_BYTES));
    (void)keep_nodes();
    CHECK(hk_peak_bytes >= HUGE_BYTES);
    for (int ms = 0; ms < 2 * HK_DECAY_MS; ms += STEP_MS) {
        fake_os_advance(STEP_MS);
        (void)keep_nodes();
    }
    CHECKF(hk_peak_bytes == 70 * MIB, " (%zu)", (size_t)hk_peak_bytes);

    /* What was touched was one. */
    fake_os.peak_resident_bytes = 70 * MIB + HUGE_BYTES;
    hak_free(hak_malloc(HUGE_BYTES));
    (void)keep_nodes();
    size_t peak = hk_peak_bytes;
    for (int ms = 0; ms < 2 * HK_DECAY_MS; ms += STEP_MS) {
        fake_os_advance(STEP_MS);
        (void)keep_nodes();
    }
    CHECK(peak >= HUGE_BYTES && hk_peak_bytes == peak);
}

/* Each in a process of its own, which has had no peak before. */
int main(int argc, char **argv)
{
    const test_case_t cases[] = {
        {"run_beside_nodes", run_beside_nodes, 0},
        {"nodes_beside_runs", nodes_beside_runs, 0},
        {"mapping_beside_nodes", mapping_beside_nodes, 0},
        {"give_idle_runs", give_idle_runs, 0},
        {"give_of_the_next", give_of_the_next, 0},
        {"untouched", untouched, 0},
    };
    return test_cases(argc, argv, cases, TEST_COUNT(cases), 60);
}
