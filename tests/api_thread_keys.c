/*
 * A program that takes all thread keys for itself: the caches of its threads still go with them.
 */
#include "hak_names.h"

enum { THREADS = 300 };

static void *allocate(void *argument)
{
    for (size_t i = 0; i < 200; i++)
        t_free(t_malloc(i * 16));
    return argument;
}

static uint64_t metadata_bytes(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats.metadata_bytes;
}

int main(void)
{
    pthread_key_t key;
    while (pthread_key_create(&key, NULL) == 0) {
    }
    test_join(test_thread(allocate, NULL));
    uint64_t before = metadata_bytes();
    for (int i = 0; i < THREADS; i++)
        test_join(test_thread(allocate, NULL));
    uint64_t after = metadata_bytes();
    CHECKF(after < before + 256 * KIB, " (%llu, %llu)", (unsigned long long)before,
           (unsigned long long)after);
    return 0;
}
