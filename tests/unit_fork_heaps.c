/*
 * A block of a first-class heap that is freed while another thread forks is only noted.  If the
 * heap is destroyed before the note is worked off, the note must not be worked off any more.
 * Further, a trim gives back what is only noted, without a malloc before it; and regions of the
 * refuge that the fork had to leave in place because a thread was at work in them.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include <sys/mman.h>
#include <sys/syscall.h>

#include "fork_elsewhere.h"

enum { ROUNDS = 50 };

static _Atomic bool slow_map; /* the next mapping is made after the fork */
static _Thread_local bool
    yield_ends_fork; /* this thread's next yield lasts until the fork is over */

/* ThreadSanitizer calls it before its own memory is there. */
__attribute__((no_sanitize("thread"))) void *mmap(void *address, size_t bytes, int protection,
                                                  int flags, int fd, off_t offset)
{
    if (atomic_exchange(&slow_map, false)) {
        fork_step = 2;
        while (fork_step != 3) {
            (void)sched_yield();
        }
    }
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}

/* So that a thread which found the gate closed finds it open at its second look. */
int sched_yield(void)
{
    if (yield_ends_fork) {
        yield_ends_fork = false;
        fork_step = 2;
        while (fork_step != 3) {
            (void)syscall(SYS_sched_yield);
        }
    }
    return (int)syscall(SYS_sched_yield);
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
    pthread_t forker = fork_begin();
    hak_free(one);
    hak_free(other);
    fork_end(forker);
}

static hak_stats_t figures(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats;
}

static void trim_after_fork(size_t size)
{
    uint64_t before = figures().in_use_bytes;
    char *block = hak_malloc(size), *other = hak_malloc(size);
    CHECK(block != NULL && other != NULL);
    free_during_fork(block, other);
    CHECK(figures().in_use_bytes >= before + 2 * size);
    (void)hak_trim(0);
    CHECK(figures().in_use_bytes <= before);
    CHECK(hak_check() == 0);
}

static void refuge_left_by_fork(size_t size)
{
    (void)hak_trim(0);
    size_t before = hak_limit_committed();
    pthread_t forker = fork_begin();
    slow_map = true;
    char *block = hak_malloc(size);
    CHECK(block != NULL && !slow_map);
    memset(block, 1, size);
    test_join(forker);
    hak_free(block);
    (void)hak_trim(0);
    CHECK(hak_limit_committed() <= before);
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

/* The thread's first call, which the fork keeps from making a cache; it gets one inside, as it
 * works off the note. */
static void *destroy_late(void *heap)
{
    CHECK(hk_thread_own == &hk_cache_empty);
    yield_ends_fork = true;
    hak_heap_destroy(heap);
    CHECK(!yield_ends_fork && hk_thread_own != &hk_cache_empty);
    CHECK(!hk_thread_is_inside() && hk_load_relaxed(&hk_thread_own->busy.depth) == 0);
    return NULL;
}

static void cache_made_inside(void)
{
    hak_heap_t *heap = hak_heap_create();
    char *noted = hak_malloc(100000);
    CHECK(heap != NULL && noted != NULL);
    pthread_t forker = fork_begin();
    hak_free(noted);
    test_join(test_thread(destroy_late, heap));
    test_join(forker);
    CHECK(hk_load_relaxed(&hk_gate_strangers.depth) ==
          0); /* or the next fork would wait for ever */
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
    refuge_left_by_fork(10000000);
    cache_made_inside();
    return 0;
}
