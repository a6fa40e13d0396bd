/*
 * A correct program with more threads than heaps, so that threads share heaps and undo each other's
 * writes of neighbouring live bits: none of its frees may be taken for a bad one.
 *
 * Each thread is bound to one processor until it has allocated, which is when the library asks for
 * its processors, and uses all of them afterwards: four heaps for 32 threads that really run side
 * by side.  Blocks are small, so that many share a word of bits; each is freed by its owner, by
 * another thread, after its thread's end, or in a forked child.  An argument gives the seconds.
 */
#define _GNU_SOURCE
#include "hak_names.h"

#include <sched.h>
#include <stdatomic.h>

#define BOUND "STRESS_SHARED_HEAPS_BOUND"

enum { THREADS = 32, MINE = 200, SHARED = 512, HEAPS_MOST = 4, CHILDREN = 20 };

static _Atomic(unsigned char *) shared[SHARED]; /* blocks on their way from one thread to another */
static _Atomic bool stop;
static _Atomic uint64_t passed_on, ended_threads, late_frees;
static pthread_key_t key;
static pthread_mutex_t no_fork = PTHREAD_MUTEX_INITIALIZER;

typedef struct worker {
    test_rng_t rng;
    unsigned rounds; /* of the destructor, so far */
    unsigned char *mine[MINE];
} worker_t;

static size_t random_size(test_rng_t *rng)
{
    return test_below(rng, 8) == 0 ? 1 + test_below(rng, 400) : 1 + test_below(rng, 48);
}

/* A block is filled with what its address gives, so that two owners of one would show. */
static unsigned char *fill(unsigned char *block, size_t bytes)
{
    CHECK(block != NULL);
    memset(block, (int)((uintptr_t)block >> 4 & 0xff), bytes);
    block[0] ^= 0xff; /* live */
    return block;
}

static void verify(const unsigned char *block)
{
    CHECKF((block[0] ^ 0xff) == ((uintptr_t)block >> 4 & 0xff), " (%p)", (const void *)block);
}

static void check_and_free(unsigned char *block)
{
    verify(block);
    block[0] = 0; /* no more: whoever has it too will see */
    t_free(block);
}

static unsigned char *allocate(test_rng_t *rng)
{
    size_t bytes = random_size(rng);
    switch (test_below(rng, 8)) {
    case 0: return fill(t_calloc(1, bytes), bytes);
    case 1: return fill(t_aligned_alloc(32, bytes), bytes);
    default: return fill(t_malloc(bytes), bytes);
    }
}

static void step(unsigned char **mine, test_rng_t *rng)
{
    unsigned char **slot = &mine[test_below(rng, MINE)];
    if (*slot == NULL) {
        *slot = allocate(rng);
        return;
    }
    verify(*slot);
    switch (test_below(rng, 8)) {
    case 0: CHECK(t_usable_size(*slot) >= 1); break;
    case 1: {
        size_t bytes = random_size(rng);
        *slot = fill(t_realloc(*slot, bytes), bytes);
        break;
    }
    case 2:
    case 3: /* for another thread, whose old one is ours then */
        *slot = atomic_exchange(&shared[test_below(rng, SHARED)], *slot);
        atomic_fetch_add(&passed_on, 1);
        break;
    default: check_and_free(*slot); *slot = NULL;
    }
}

/* A destructor of the program's, first before the end of the thread's cache and then after it. */
static void end_late(void *argument)
{
    worker_t *worker = argument;
    size_t half = worker->rounds == 0 ? 0 : MINE / 2;
    for (size_t i = half; i < half + MINE / 2; i++) {
        if (worker->mine[i] != NULL) {
            check_and_free(worker->mine[i]);
            atomic_fetch_add(&late_frees, worker->rounds);
        }
        unsigned char *late =
            atomic_exchange(&shared[test_below(&worker->rng, SHARED)], allocate(&worker->rng));
        if (late != NULL)
            check_and_free(late);
    }
    if (worker->rounds++ == 0)
        CHECK(pthread_setspecific(key, worker) == 0);
    else
        t_free(worker);
}

static void bind_to_one(void)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    }
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

static void allocate_bound(void)
{
    cpu_set_t all;
    bind_to_one();
    CHECK(pthread_mutex_lock(&no_fork) == 0); /* or the thread would get its heap later */
    t_free(t_malloc(1));
    CHECK(pthread_mutex_unlock(&no_fork) == 0);
    memset(&all, 0xff, sizeof all); /* as many of them as there are */
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
}

static void *work(void *argument)
{
    allocate_bound();
    worker_t *worker = t_calloc(1, sizeof *worker);
    CHECK(worker != NULL && pthread_setspecific(key, worker) == 0);
    worker->rng = test_rng((uintptr_t)argument);
    size_t steps = 20000 + test_below(&worker->rng, 200000);
    for (size_t i = 0; i < steps && !stop; i++)
        step(worker->mine, &worker->rng);
    atomic_fetch_add(&ended_threads, 1);
    return NULL;
}

/* Threads end and others come in their place, until it is time. */
static void *keep_working(void *argument)
{
    allocate_bound();
    for (uintptr_t round = 0; !stop; round++)
        test_join(test_thread(work, (void *)((uintptr_t)argument + 1000 * round)));
    return NULL;
}

/* The child frees what other threads allocated, and allocates. */
static void fork_once(test_rng_t *rng)
{
    unsigned char *taken[64];
    for (size_t i = 0; i < TEST_COUNT(taken); i++)
        taken[i] = atomic_exchange(&shared[test_below(rng, SHARED)], NULL);
    CHECK(pthread_mutex_lock(&no_fork) == 0);
    pid_t pid = fork();
    CHECK(pthread_mutex_unlock(&no_fork) == 0);
    CHECK(pid >= 0);
    for (size_t i = 0; i < TEST_COUNT(taken); i++) {
        if (taken[i] != NULL)
            check_and_free(taken[i]);
    }
    if (pid == 0) {
        static unsigned char *mine[MINE];
        for (size_t i = 0; i < 20000; i++)
            step(mine, rng);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(status == 0, " (0x%x)", (unsigned)status);
}

int main(int argc, char **argv)
{
    if (getenv(BOUND) == NULL) { /* the first thread allocates before main */
        bind_to_one();
        CHECK(setenv(BOUND, "1", 1) == 0);
        CHECK(execv("/proc/self/exe", argv) == 0);
    }
    uint64_t seconds = test_arg(argc, argv, 1, 4);
    pthread_t threads[THREADS];
    test_rng_t rng = test_rng(11);
    CHECK(pthread_key_create(&key, end_late) == 0); /* before the library's own */
    allocate_bound();
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(keep_working, (void *)(i + 1));
    for (uint64_t i = 0; i < CHILDREN * seconds / 4 + 1; i++) {
        fork_once(&rng);
        CHECKF(test_rss_bytes() < 2048 * MIB, " (%zu)",
               test_rss_bytes()); /* waiting costs memory */
        (void)usleep(150000);
    }
    stop = true;
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    /* One more for threads that have no cache any more. */
    CHECKF(stats.heaps <= HEAPS_MOST + 1, " (%d heaps)", (int)stats.heaps);
    CHECK(passed_on > 0 && late_frees > 0 && ended_threads >= THREADS);
    for (size_t i = 0; i < SHARED; i++) {
        if (shared[i] != NULL)
            check_and_free(shared[i]);
    }
    CHECK(t_check() == 0);
    printf("%llu passed on, %llu threads, %llu late frees\n", (unsigned long long)passed_on,
           (unsigned long long)ended_threads, (unsigned long long)late_frees);
    return 0;
}
