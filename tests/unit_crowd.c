/*
 * Where there are many threads, or a hard limit, each has less in its magazines of large blocks,
 * and no block is lost as many come and go.
 */
#include "fake_os.h"

#include "test.h"

#include <hakmem/hakmem.h>

#include "cache.h"
#include "policy.h"
#include "thread.h"

enum { BYTES = 8 << 10, BLOCKS = 400, THREADS = 12, ROUNDS = 8 };

static pthread_barrier_t barrier;

static void *wait_for_end(void *argument)
{
    hak_free(hak_malloc(BYTES));
    (void)pthread_barrier_wait(&barrier); /* all are there */
    (void)pthread_barrier_wait(&barrier);
    return argument;
}

static char *blocks[BLOCKS];

/* Blocks come and go, in numbers that pass the ends of magazines of any size. */
static void churn(void)
{
    test_rng_t rng = test_rng(1);
    for (int i = 0; i < ROUNDS * BLOCKS; i++) {
        size_t at = test_below(&rng, BLOCKS);
        if (blocks[at] != NULL) {
            CHECK_PATTERN(blocks[at], BYTES, BYTES, at);
            hak_free(blocks[at]);
            blocks[at] = NULL;
        } else {
            CHECK((blocks[at] = hak_malloc(BYTES)) != NULL);
            test_fill(blocks[at], BYTES, at);
        }
    }
    CHECK(hak_check() == 0);
}

static size_t capacity(void)
{
    return hk_thread_own->loaded[hk_class_of(BYTES)]->capacity;
}

int main(void)
{
    pthread_t threads[THREADS];
    CHECK(hk_thread_make_key()); /* threads give their caches back */
    const hk_policy_class_t *policy = &hk_policy_class[hk_class_of(BYTES)];
    CHECK(policy->load_blocks < policy->magazine_blocks);
    for (int round = 0; round < 40; round++) {
        churn();
        CHECKF(capacity() == policy->magazine_blocks, " (%zu)", capacity());
        CHECK(!hk_cache_crowded);
        CHECK(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
        for (int i = 0; i < THREADS; i++)
            threads[i] = test_thread(wait_for_end, NULL);
        (void)pthread_barrier_wait(&barrier);
        CHECK(hk_cache_crowded);
        churn();
        CHECKF(capacity() == policy->load_blocks, " (%zu)", capacity());
        (void)pthread_barrier_wait(&barrier);
        for (int i = 0; i < THREADS; i++)
            test_join(threads[i]);
        CHECK(!hk_cache_crowded);
        CHECK(pthread_barrier_destroy(&barrier) == 0);
    }
    CHECK(hak_limit_set(HAK_LIMIT_HARD, (size_t)1 << 30) == 0); /* idle threads' are out of reach */
    churn();
    CHECKF(capacity() == policy->load_blocks, " (%zu)", capacity());
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    for (int i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
    hak_stats_t stats;
    (void)hak_trim(0);
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    CHECKF(stats.in_use_bytes < 8 * BYTES, " (%zu)",
           (size_t)stats.in_use_bytes); /* libc has some */
    return 0;
}
