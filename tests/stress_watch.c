/*
 * Threads that make nothing but pairs of malloc and free, while others free much and sleep, or end,
 * and short-lived ones come and go, and the process forks: the pairs alone bring the memory back,
 * each time anew.
 *
 *     stress_watch [rounds]
 */
#include "hak_names.h"
#include <stdatomic.h>
#include <sys/wait.h>

enum {
    PAIRERS = 3,
    SHORT_LIVED = 8,
    SILENT = 16, /* more stacks than the C library keeps */
    BLOCK_BYTES = 300,
    FREED_BYTES = 40 << 20,
    LEFT_BYTES = 8 << 20, /* but for so much everything goes, */
    PATIENCE_MS = 20000,  /* in this time */
};

static atomic_bool stop;
static _Atomic uint64_t pairs;
static pthread_barrier_t asleep, awake;

static size_t committed_bytes(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return (size_t)stats.committed_bytes;
}

static void pair(size_t size)
{
    void *block = t_malloc(size);
    CHECK(block != NULL);
    t_free(block);
}

/* One of them calls seldom. */
static void *make_pairs(void *argument)
{
    bool seldom = argument != NULL;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        for (int i = 0; i < (seldom ? 1 : 1000); i++)
            pair(BLOCK_BYTES);
        atomic_fetch_add_explicit(&pairs, 1, memory_order_relaxed);
        if (seldom)
            usleep(2000);
    }
    return NULL;
}

static void take_and_free(void)
{
    static void *blocks[FREED_BYTES / BLOCK_BYTES]; /* one thread at a time */
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        CHECK((blocks[i] = t_malloc(BLOCK_BYTES)) != NULL);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        t_free(blocks[i]);
}

static void *free_and_end(void *unused)
{
    take_and_free();
    return unused;
}

static void *free_and_sleep(void *unused)
{
    take_and_free();
    (void)pthread_barrier_wait(&asleep);
    (void)pthread_barrier_wait(&awake);
    return unused;
}

static void *short_lived(void *unused)
{
    for (int i = 0; i < 200; i++)
        pair(BLOCK_BYTES);
    return unused;
}

static void *silent(void *unused)
{
    return unused;
}

/* Threads whose first call is the last thing that the C library does for them: it frees what it had
 * for the thread, when nobody hears of its end any more. */
static void end_silently(void)
{
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    for (int i = 0; i < SILENT; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, silent, NULL) == 0);
    }
    CHECK(pthread_attr_destroy(&attributes) == 0);
    usleep(20000); /* for most of them to end */
}

static void come_and_go(void)
{
    pthread_t threads[SHORT_LIVED];
    for (int i = 0; i < SHORT_LIVED; i++)
        threads[i] = test_thread(short_lived, NULL);
    for (int i = 0; i < SHORT_LIVED; i++)
        test_join(threads[i]);
}

/* With pairs of this thread, or only those of others. */
static void await_less(bool makes_pairs)
{
    for (int ms = 0; committed_bytes() > LEFT_BYTES; ms++) {
        CHECKF(ms < PATIENCE_MS, " (%zu KiB are left%s)", committed_bytes() / 1024,
               makes_pairs ? " in the child" : "");
        if (makes_pairs)
            pair(BLOCK_BYTES);
        usleep(1000);
    }
}

static void fork_meanwhile(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        await_less(true); /* it has what was freed, and only its own pairs */
        _exit(t_check() == 0 ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 2;
    pthread_t pairers[PAIRERS];
    static bool seldom = true;
    CHECK(pthread_barrier_init(&asleep, NULL, 2) == 0 &&
          pthread_barrier_init(&awake, NULL, 2) == 0);
    for (uintptr_t i = 0; i < PAIRERS; i++)
        pairers[i] = test_thread(make_pairs, i == 0 ? &seldom : NULL);
    for (int round = 0; round < rounds; round++) {
        end_silently();
        pthread_t sleeper = test_thread(free_and_sleep, NULL);
        come_and_go();
        (void)pthread_barrier_wait(&asleep);
        fork_meanwhile();
        await_less(false);
        (void)pthread_barrier_wait(&awake);
        test_join(sleeper);
        pthread_t other = test_thread(free_and_end, NULL);
        come_and_go();
        test_join(other);
        await_less(false);
    }
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (int i = 0; i < PAIRERS; i++)
        test_join(pairers[i]);
    CHECK(atomic_load_explicit(&pairs, memory_order_relaxed) > 0);
    CHECK(t_check() == 0);
    return 0;
}
