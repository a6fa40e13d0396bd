/*
 * HAKMEM_DECAY: how long memory is free before it goes back, for small blocks, runs of pages and
 * direct mappings, while one thread allocates now and then.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "options.h"
#include "policy.h"
#include "stats_now.h"

enum {
    STEP_MS = 5,
    BLOCKS = 30000,
    BLOCK_BYTES = 1000,
    RUNS = 60,
    RUN_BYTES = 500000,
    MAPPING_BYTES = 40 << 20,
};

static void use_little(void)
{
    void *small = hak_malloc(100);
    void *run = hak_malloc(RUN_BYTES);
    CHECK(small != NULL && run != NULL);
    hak_free(small);
    hak_free(run);
}

static void free_much(void)
{
    static void *blocks[BLOCKS];
    static void *runs[RUNS];
    void *mapping = hak_malloc(MAPPING_BYTES);
    CHECK(mapping != NULL);
    for (int i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = hak_malloc(BLOCK_BYTES)) != NULL);
    for (int i = 0; i < RUNS; i++)
        CHECK((runs[i] = hak_malloc(RUN_BYTES)) != NULL);
    for (int i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
    for (int i = 0; i < RUNS; i++)
        hak_free(runs[i]);
    hak_free(mapping);
}

static size_t slab_bytes(void)
{
    hak_stats_t now = stats_now();
    return (size_t)(now.pool_warm_bytes + now.slab_free_bytes);
}

static size_t run_bytes(void)
{
    return (size_t)stats_now().run_warm_bytes;
}

static size_t mapping_bytes(void)
{
    return (size_t)stats_now().large_cached_bytes;
}

/* For each kind: after how many ms it was no more than half of what it was. */
static void check_decay(uint64_t decay_ms)
{
    size_t (*const kinds[])(void) = {slab_bytes, run_bytes, mapping_bytes};
    const char *const names[] = {"slabs", "runs", "mappings"};
    const uint64_t least_ms[] = {decay_ms, decay_ms, HK_LARGE_KEEP_EPOCHS * decay_ms};
    size_t before[TEST_COUNT(kinds)];
    uint64_t gone_ms[TEST_COUNT(kinds)] = {0};
    hk_options.decay = decay_ms;
    test_use_up_apart(hak_malloc, hak_free);
    free_much();
    for (size_t i = 0; i < TEST_COUNT(kinds); i++)
        CHECKF((before[i] = kinds[i]()) > 20 * MIB, " (%s: %zu)", names[i], before[i]);
    for (uint64_t ms = STEP_MS; ms < 8 * decay_ms + 1000; ms += STEP_MS) {
        fake_os_advance(STEP_MS);
        use_little();
        for (size_t i = 0; i < TEST_COUNT(kinds); i++)
            if (gone_ms[i] == 0 && kinds[i]() <= before[i] / 2)
                gone_ms[i] = ms;
    }
    for (size_t i = 0; i < TEST_COUNT(kinds); i++)
        CHECKF(gone_ms[i] >= least_ms[i] && gone_ms[i] <= 2 * least_ms[i] + decay_ms + 200,
               " (%s: %zu ms)", names[i], (size_t)gone_ms[i]);
    CHECK(hak_check() == 0);
}

static void quick(void)
{
    check_decay(20);
}

static void standard(void)
{
    CHECK(hk_options.decay == HK_DECAY_MS);
    check_decay(hk_options.decay);
}

static void slow(void)
{
    check_decay(5000);
}

int main(int argc, char **argv)
{
    const test_case_t cases[] = {
        {"quick", quick, 0},
        {"standard", standard, 0},
        {"slow", slow, 0},
    };
    return test_cases(argc, argv, cases, TEST_COUNT(cases), 60);
}
