/*
 * What a thread leaves behind when it ends goes back to the system, though nobody calls malloc any
 * more: what it freed, and what others freed of its blocks.
 */
#include "hak_names.h"
#include "stats_now.h"

#include <time.h>

enum { THREADS = 4, BLOCKS = 2000, LARGE = 20, SIZE = 8000, LARGE_SIZE = 400000 };

static void *blocks[THREADS][BLOCKS];
static void *large[THREADS][LARGE];
static pthread_barrier_t barrier;

/* Some 24 MiB a thread; it frees the blocks of the thread before it. */
static void *worker(void *argument)
{
    size_t mine = (size_t)(uintptr_t)argument;
    size_t before = (mine + THREADS - 1) % THREADS;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[mine][i] = t_malloc(SIZE);
        CHECK(blocks[mine][i] != NULL);
        memset(blocks[mine][i], 1, SIZE);
    }
    for (size_t i = 0; i < LARGE; i++) {
        large[mine][i] = t_malloc(LARGE_SIZE);
        CHECK(large[mine][i] != NULL);
        memset(large[mine][i], 1, LARGE_SIZE);
    }
    (void)pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < BLOCKS; i++)
        t_free(blocks[before][i]);
    for (size_t i = 0; i < LARGE; i++)
        t_free(large[before][i]);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    void *held = t_malloc(30 * MIB); /* of main's, and stays */
    CHECK(held != NULL);
    const struct timespec second = {.tv_sec = 1};
    CHECK(nanosleep(&second, NULL) ==
          0); /* the longer a process has run the more may go: 125 MiB now */
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    size_t before = stats_now().committed_bytes;
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(worker, (void *)(uintptr_t)i);
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    hak_stats_t stats = stats_now();
    printf("before %zu KiB committed, after %llu\n", before / KIB,
           (unsigned long long)stats.committed_bytes / KIB);
    CHECK(stats.purged_bytes > 50 * MIB);
    /* a third of what is in use may stay, and what heaps have begun */
    CHECK(stats.committed_bytes < before + 26 * MIB);
    t_free(held);
    CHECK(t_check() == 0);
    puts("api_thread_end: ok");
    return 0;
}
