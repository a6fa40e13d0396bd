/*
 * Tens of thousands of short-lived threads: after all of them no more is mapped than after the
 * first 1,000, apart from some slack.
 *
 *     api_thread_churn [threads]      20,000 by default; 100,000 in the release presets' tests
 */
#include "hak_names.h"

enum { AT_ONCE = 4, BLOCKS = 64, KEPT = 8 };

static void *kept[AT_ONCE][KEPT];

static void *short_life(void *argument)
{
    size_t index = (size_t)(uintptr_t)argument % AT_ONCE;
    test_rng_t rng = test_rng((uintptr_t)argument);
    void *blocks[BLOCKS];
    /* The blocks that a thread before this one left behind; its heap has another owner by now, or
     * none. */
    for (size_t i = 0; i < KEPT; i++)
        t_free(kept[index][i]);
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = test_log_size(&rng, i == 0 ? 18 : 12);
        blocks[i] = t_malloc(size);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], size < 64 ? size : 64, i);
    }
    for (size_t i = KEPT; i < BLOCKS; i++)
        t_free(blocks[i]);
    memcpy(kept[index], blocks, sizeof kept[index]);
    return NULL;
}

int main(int argc, char **argv)
{
    size_t total = (size_t)test_arg(argc, argv, 1, TEST_SANITIZED ? 4000 : 20000);
    if (total < 2000)
        total = 2000;
    hak_stats_t early, stats;
    memset(&early, 0, sizeof early);
    size_t early_rss = 0;
    for (size_t started = 0; started < total; started += AT_ONCE) {
        pthread_t threads[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++)
            threads[i] = test_thread(short_life, (void *)(uintptr_t)(started + i));
        for (size_t i = 0; i < AT_ONCE; i++)
            test_join(threads[i]);
        /* main frees a few too, so that blocks go to heaps that nobody uses */
        if (started % 100 == 0) {
            for (size_t i = 0; i < KEPT; i++) {
                t_free(kept[0][i]);
                kept[0][i] = NULL;
            }
        }
        if (started == 1000) {
            CHECK(hak_stats_get(&early, sizeof early) == 0);
            early_rss = test_rss_bytes();
        }
    }
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    size_t rss = test_rss_bytes();
    printf("after 1,000 threads: mapped %llu KiB, metadata %llu KiB, %llu heaps, RSS %zu KiB\n",
           (unsigned long long)(early.mapped_bytes / KIB),
           (unsigned long long)(early.metadata_bytes / KIB), (unsigned long long)early.heaps,
           early_rss / KIB);
    printf("after %zu threads: mapped %llu KiB, metadata %llu KiB, %llu heaps, RSS %zu KiB\n",
           total, (unsigned long long)(stats.mapped_bytes / KIB),
           (unsigned long long)(stats.metadata_bytes / KIB), (unsigned long long)stats.heaps,
           rss / KIB);
    CHECK(stats.mapped_bytes <= early.mapped_bytes + 8 * MIB);
    CHECK(stats.metadata_bytes <= early.metadata_bytes + 1 * MIB);
    CHECK(stats.heaps <= early.heaps + 2 * AT_ONCE);
    if (!TEST_SANITIZED)
        CHECK(rss <= early_rss + 8 * MIB);
    for (size_t i = 0; i < AT_ONCE; i++) {
        for (size_t j = 0; j < KEPT; j++)
            t_free(kept[i][j]);
    }
    CHECK(t_check() == 0);
    puts("api_thread_churn: ok");
    return 0;
}
