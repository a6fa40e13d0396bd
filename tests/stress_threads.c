/*
 * Threads that hand blocks to each other through exchange slots and free what others allocated;
 * threads end and are started anew each phase; between phases the heaps are checked while all wait
 * at a barrier.
 *
 *     stress_threads [seed [phases [threads [operations]]]]
 */
#include "hak_names.h"
#include <stdatomic.h>

enum { MAX_THREADS = 64, SLOTS = 512, SHORT_LIVED = 4 };

/* At the start of each block; the rest of it holds the pattern. */
typedef struct header {
    uint64_t id;
    size_t size; /* of the whole block */
    uint64_t guard;
} header_t;

#define GUARD UINT64_C(0x4841b10cced6b10c)

static _Atomic(header_t *) slots[SLOTS];
static pthread_barrier_t barrier;
static uint64_t seed, operations;
static atomic_ullong handed;

typedef struct worker {
    size_t index;
    uint64_t phases;
} worker_t;

static header_t *make(test_rng_t *rng)
{
    size_t size = sizeof(header_t) + test_log_size(rng, test_below(rng, 64) == 0 ? 21 : 13);
    void *start;
    switch (test_below(rng, 8)) {
    case 0: start = t_calloc(1, size); break;
    case 1: start = t_aligned_alloc((size_t)16 << test_below(rng, 9), size); break;
    default: start = t_malloc(size); break;
    }
    CHECK(start != NULL);
    header_t *header = (header_t *)start;
    *header = (header_t){test_next(rng), size, 0};
    header->guard = GUARD ^ header->id ^ header->size;
    test_fill(header + 1, size - sizeof *header, header->id);
    return header;
}

static void verify(const header_t *header, size_t length)
{
    CHECKF(header->guard == (GUARD ^ header->id ^ header->size), " (block %p, seed %llu)",
           (const void *)header, (unsigned long long)seed);
    size_t body = header->size - sizeof *header;
    CHECK_PATTERN(header + 1, length < body ? length : body, body, header->id);
}

static header_t *resize(header_t *header, test_rng_t *rng)
{
    size_t body = test_log_size(rng, 14);
    header_t *moved = (header_t *)t_realloc(header, sizeof *header + body);
    CHECK(moved != NULL);
    verify(moved, body);
    moved->size = sizeof *moved + body;
    moved->guard = GUARD ^ moved->id ^ moved->size;
    test_fill(moved + 1, body, moved->id);
    return moved;
}

static void exchange(test_rng_t *rng, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        size_t slot = test_below(rng, SLOTS);
        header_t *mine = test_below(rng, 8) == 0 ? NULL : make(rng);
        header_t *theirs = atomic_exchange_explicit(&slots[slot], mine, memory_order_acq_rel);
        if (theirs == NULL)
            continue;
        verify(theirs, SIZE_MAX);
        if (test_below(rng, 6) == 0) {
            theirs = resize(theirs, rng);
            theirs = atomic_exchange_explicit(&slots[test_below(rng, SLOTS)], theirs,
                                              memory_order_acq_rel);
            if (theirs == NULL)
                continue;
            verify(theirs, SIZE_MAX);
        }
        t_free(theirs);
        atomic_fetch_add_explicit(&handed, 1, memory_order_relaxed);
    }
}

static void *short_lived(void *argument)
{
    test_rng_t rng = test_rng((uint64_t)(uintptr_t)argument);
    exchange(&rng, 300);
    return NULL;
}

static void meet(void)
{
    int result = pthread_barrier_wait(&barrier);
    CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void *work(void *argument)
{
    const worker_t *self = (const worker_t *)argument;
    test_rng_t rng = test_rng(seed * 1000 + self->index);
    for (uint64_t phase = 0; phase < self->phases; phase++) {
        pthread_t threads[SHORT_LIVED];
        for (size_t i = 0; i < SHORT_LIVED; i++) {
            threads[i] = test_thread(short_lived, (void *)(uintptr_t)(test_next(&rng) >> 8));
        }
        exchange(&rng, operations);
        for (size_t i = 0; i < SHORT_LIVED; i++)
            test_join(threads[i]);
        meet();
        if (self->index == 0)
            CHECKF(t_check() == 0, " (seed %llu)", (unsigned long long)seed);
        meet();
    }
    return NULL;
}

int main(int argc, char **argv)
{
    seed = test_arg(argc, argv, 1, 77);
    uint64_t phases = test_arg(argc, argv, 2, TEST_SANITIZED ? 4 : 12);
    size_t threads = (size_t)test_arg(argc, argv, 3, 6);
    operations = test_arg(argc, argv, 4, TEST_SANITIZED ? 2000 : 12000);
    if (threads < 1)
        threads = 1;
    if (threads > MAX_THREADS)
        threads = MAX_THREADS;
    printf("stress_threads: seed %llu, %llu phases, %zu threads, %llu operations\n",
           (unsigned long long)seed, (unsigned long long)phases, threads,
           (unsigned long long)operations);
    fflush(stdout);
    /* Twice: the second time all workers are new threads that find what the first ones left. */
    for (int generation = 0; generation < 2; generation++) {
        pthread_t handles[MAX_THREADS];
        worker_t workers[MAX_THREADS];
        CHECK(pthread_barrier_init(&barrier, NULL, (unsigned)threads) == 0);
        for (size_t i = 0; i < threads; i++) {
            workers[i] = (worker_t){i + (size_t)generation * 100, phases / 2 + 1};
            if (i == 0)
                workers[i].index = 0;
            handles[i] = test_thread(work, &workers[i]);
        }
        for (size_t i = 0; i < threads; i++)
            test_join(handles[i]);
        CHECK(pthread_barrier_destroy(&barrier) == 0);
        CHECK(t_check() == 0);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        header_t *left = atomic_exchange(&slots[i], NULL);
        if (left == NULL)
            continue;
        verify(left, SIZE_MAX);
        t_free(left);
    }
    CHECK(atomic_load(&handed) > 0);
    (void)hak_trim(0);
    CHECK(t_check() == 0);
    puts("stress_threads: ok");
    return 0;
}
