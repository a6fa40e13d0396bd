/*
 * A block of a first-class heap that is freed while another thread forks is only noted; the heap may be destroyed
 * before the note is worked off, and then the note must not be.  And what is only noted goes back by a trim, without a malloc before.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "thread.h"

enum { ROUNDS = 50 };

static _Atomic int step;

static void *fork_elsewhere(void *argument)
{
    hk_thread_fork_prepare();
    step = 1;
    while (step != 2) {
        (void)sched_yield();
    }
    hk_thread_fork_parent();
    return argument;
}

/* Takes blocks of many classes, so that slow paths are met, which work off notes. */
static void *allocate_all(void *argument)
{
    for (int i = 0; i < 1000; i++) {
        char *block = hak_malloc((size_t)i * 8);
        CHECK(block != NULL);
        memset(block, 1, (size_t)i * 8);
        hak_free(block);
    }
    return argument;
}

static void free_during_fork(void *one, void *other)
{
    step = 0;
    pthread_t forker = test_thread(fork_elsewhere, NULL);
    while (step != 1) {
        (void)sched_yield();
    }
    hak_free(one);
    hak_free(other);
    step = 2;
    test_join(forker);
}

static uint64_t in_use_bytes(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats.in_use_bytes;
}

static void trim_after_fork(size_t size)
{
    uint64_t before = in_use_bytes();
    char *block = hak_malloc(size), *other = hak_malloc(size);
    CHECK(block != NULL && other != NULL);
    free_during_fork(block, other);
    CHECK(in_use_bytes() >= before + 2 * size);
    (void)hak_trim(0);
    CHECK(in_use_bytes() <= before);
    CHECK(hak_check() == 0);
}

static void run(size_t size, bool others_replay)
{
    hak_heap_t *heap = hak_heap_create();
    char *block = hak_heap_malloc(heap, size), *small = hak_heap_malloc(heap, 100);
    CHECK(block != NULL && small != NULL);
    free_during_fork(block, small);
    pthread_t other;
    if (others_replay)
        other = test_thread(allocate_all, NULL);
    hak_heap_destroy(heap);
    if (others_replay)
        test_join(other);
    (void)allocate_all(NULL);
    CHECK(hak_check() == 0);
}

int main(void)
{
    static const size_t sizes[] = {16, 1000, 60000, 100000, 1000000, 5000000};
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < TEST_COUNT(sizes); i++)
            run(sizes[i], round % 2 == 1);
    trim_after_fork(100000);
    trim_after_fork(5000000);
    trim_after_fork(50000000);
    return 0;
}
