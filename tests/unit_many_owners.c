/*
 * One thread frees blocks of more heaps than its cache has places for, each time another one's: not
 * each block takes a magazine along.
 */
#include "test.h"

#include "fake_os.h"

#include <hakmem/hakmem.h>

#include "cache.h"
#include "stats_now.h"

enum { THREADS = 2 * HK_OUTGOING_SLOTS + 20, BLOCKS = 200, FREES = THREADS * BLOCKS };

static void *blocks[BLOCKS][THREADS];
static pthread_barrier_t allocated, freed;

static void *allocate(void *argument)
{
    size_t thread = (size_t)(uintptr_t)argument;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i][thread] = hak_malloc(100);
        CHECK(blocks[i][thread] != NULL);
    }
    pthread_barrier_wait(&allocated);
    pthread_barrier_wait(&freed);
    void *block = hak_malloc(100); /* one that was freed here meanwhile, or another */
    CHECK(block != NULL);
    hak_free(block);
    return NULL;
}

int main(void)
{
    static pthread_t threads[THREADS];
    fake_os.cpu_count = THREADS;
    CHECK(pthread_barrier_init(&allocated, NULL, THREADS + 1) == 0);
    CHECK(pthread_barrier_init(&freed, NULL, THREADS + 1) == 0);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(allocate, (void *)(uintptr_t)i);
    pthread_barrier_wait(&allocated);
    hak_stats_t before = stats_now();
    CHECKF(before.heaps > THREADS, " (%zu heaps)", (size_t)before.heaps);
    for (size_t i = 0; i < BLOCKS; i++)
        for (size_t thread = 0; thread < THREADS; thread++)
            hak_free(blocks[i][thread]);
    hak_stats_t after = stats_now();
    uint64_t magazines = after.remote_magazines - before.remote_magazines;
    CHECKF(magazines < FREES / 10, " (%zu magazines for %d blocks)", (size_t)magazines, FREES);
    CHECKF(after.metadata_bytes < before.metadata_bytes + 2 * MIB, " (%zu KiB more)",
           (size_t)(after.metadata_bytes - before.metadata_bytes) / KIB);
    pthread_barrier_wait(&freed);
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
    after = stats_now();
    CHECKF(after.live_bytes < 64 * KIB, " (%zu live)", (size_t)after.live_bytes);
    return 0;
}
