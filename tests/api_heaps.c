/*
 * First-class heaps: allocation and resizing in them, destruction with live blocks, use by many
 * threads, and threads that outlive a heap whose blocks they have freed.
 */
#include "hak_names.h"
#include "stats_now.h"

static uint64_t live_bytes(void)
{
    return stats_now().in_use_bytes;
}

static void basics(void)
{
    hak_heap_destroy(NULL);
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    hak_heap_destroy(heap); /* an empty one */

    heap = hak_heap_create();
    hak_heap_t *other = hak_heap_create();
    CHECK(heap != NULL && other != NULL && heap != other);
    enum { COUNT = 3000 };
    static struct {
        unsigned char *block;
        size_t size;
    } held[COUNT];
    test_rng_t rng = test_rng(11);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = test_log_size(&rng, i % 100 == 0 ? 21 : 14);
        hak_heap_t *mine = i % 2 == 0 ? heap : other;
        void *block;
        size_t alignment = 8;
        switch (i % 4 + i / 4 % 2) {
        case 0: block = t_heap_malloc(mine, size); break;
        case 1:
            block = t_heap_calloc(mine, size, 1);
            CHECK(block != NULL && test_is_filled_with(block, 0, size));
            break;
        case 2:
            alignment = (size_t)1 << (i % 17);
            block = t_heap_aligned_alloc(mine, alignment, size);
            break;
        default: block = t_heap_realloc(mine, NULL, size); break;
        }
        CHECK(block != NULL);
        CHECK(test_is_aligned(block, size >= 16 && alignment < 16 ? 16 : alignment));
        CHECK(t_usable_size(block) >= size);
        test_fill(block, size, i);
        held[i].block = (unsigned char *)block;
        held[i].size = size;
    }
    CHECK(t_check() == 0);
    /* A third is freed, by all the ways there are; a third is resized; the rest lives on. */
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_PATTERN(held[i].block, held[i].size, held[i].size, i);
        if (i % 3 == 0) {
            switch (i % 4) {
            case 0: t_free(held[i].block); break;
            case 1:
                CHECK(t_heap_realloc(i % 2 == 0 ? heap : other, held[i].block, 0) == NULL);
                break;
            case 2: CHECK(t_realloc(held[i].block, 0) == NULL); break;
            default: t_free(held[i].block); break;
            }
            held[i].block = NULL;
        } else if (i % 3 == 1) {
            size_t size = test_log_size(&rng, 16);
            void *block = i % 2 == 0 ? t_realloc(held[i].block, size)
                                     : t_heap_realloc(other, held[i].block, size);
            if (size == 0) {
                CHECK(block == NULL);
                held[i].block = NULL;
                continue;
            }
            CHECK(block != NULL);
            CHECK_PATTERN(block, held[i].size < size ? held[i].size : size, held[i].size, i);
            test_fill(block, size, i);
            held[i].block = (unsigned char *)block;
            held[i].size = size;
        }
    }
    /* One heap goes with all it has; the other is not touched by that. */
    hak_heap_destroy(heap);
    CHECK(t_check() == 0);
    void *fresh[200];
    for (size_t i = 0; i < TEST_COUNT(fresh); i++) {
        fresh[i] = t_malloc(i * 50);
        CHECK(fresh[i] != NULL);
        memset(fresh[i], 0xff, i * 50);
    }
    for (size_t i = 1; i < COUNT; i += 2) {
        if (held[i].block == NULL)
            continue;
        CHECK_PATTERN(held[i].block, held[i].size, held[i].size, i);
    }
    for (size_t i = 0; i < TEST_COUNT(fresh); i++)
        t_free(fresh[i]);
    hak_heap_destroy(other);
    CHECK(t_check() == 0);
}

static void failures(void)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    static const size_t bad[] = {0, 3, 24, 4097, SIZE_MAX};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        errno = 0;
        CHECK(t_heap_aligned_alloc(heap, bad[i], 100) == NULL && errno == EINVAL);
    }
    const size_t big[] = {SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX};
    void *block = t_heap_malloc(heap, 1000);
    CHECK(block != NULL);
    test_fill(block, 1000, 3);
    for (size_t i = 0; i < TEST_COUNT(big); i++) {
        errno = 0;
        CHECK(t_heap_malloc(heap, big[i]) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(t_heap_calloc(heap, 1, big[i]) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(t_heap_aligned_alloc(heap, 64, big[i]) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(t_heap_realloc(heap, block, big[i]) == NULL && errno == ENOMEM);
    }
    errno = 0;
    CHECK(t_heap_calloc(heap, SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    CHECK_PATTERN(block, 1000, 1000, 3);
    void *zero = t_heap_malloc(heap, 0), *zero2 = t_heap_malloc(heap, 0);
    CHECK(zero != NULL && zero2 != NULL && zero != zero2);
    hak_heap_destroy(heap);
    CHECK(t_check() == 0);
}

/* Blocks grown and shrunk by hak_realloc and hak_heap_realloc are still their heap's: its end frees
 * them. */
static void resized_blocks_stay(void)
{
    enum { COUNT = 1500 };
    static void *blocks[COUNT];
    uint64_t before = live_bytes();
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = t_heap_malloc(heap, 16 + i % 200);
        CHECK(blocks[i] != NULL);
        size_t size = i % 50 == 0 ? 2 * MIB : i % 10 == 0 ? 100 * KIB : 12 * KIB;
        blocks[i] = i % 2 == 0 ? t_realloc(blocks[i], size) : t_heap_realloc(heap, blocks[i], size);
        CHECK(blocks[i] != NULL);
        if (i % 3 == 0) {
            blocks[i] = t_realloc(blocks[i], size / 2);
            CHECK(blocks[i] != NULL);
        }
    }
    uint64_t full = live_bytes();
    CHECK(full > before + 40 * MIB);
    hak_heap_destroy(heap);
    uint64_t after = live_bytes();
    CHECKF(after < before + 2 * MIB, " (live %llu, %llu, %llu)", (unsigned long long)before,
           (unsigned long long)full, (unsigned long long)after);
    CHECK(t_check() == 0);
}

/* A block that hak_heap_realloc moves into another heap is that one's, however large it is. */
static void moves_into_another_heap(void)
{
    static const size_t sizes[] = {100, 20 * KIB, 200 * KIB, 3 * MIB, 40 * MIB};
    for (size_t i = 0; i < 2 * TEST_COUNT(sizes); i++) {
        size_t size = sizes[i / 2];
        hak_heap_t *from = hak_heap_create();
        hak_heap_t *to = hak_heap_create();
        CHECK(from != NULL && to != NULL);
        char *block = i % 2 == 0 ? t_heap_malloc(from, size) : t_malloc(size);
        CHECK(block != NULL);
        memset(block, 7, size);
        uint64_t before = live_bytes();
        char *moved = t_heap_realloc(to, block, 2 * size);
        CHECK(moved != NULL && moved != block && moved[0] == 7 && moved[size - 1] == 7);
        hak_heap_destroy(from);
        moved[2 * size - 1] = 8;
        CHECK(moved[size - 1] == 7);
        char *other = t_heap_malloc(to, 2 * size);
        CHECK(other != NULL && other != moved);
        CHECK(t_check() == 0);
        hak_heap_destroy(to);
        CHECK(live_bytes() <= before + 64 * KIB);
    }
}

/* Heaps that come and go leave nothing behind. */
static void many_heaps(void)
{
    enum { ROUNDS = 2000 };
    uint64_t mapped = 0, heaps = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        hak_heap_t *heap = hak_heap_create();
        CHECK(heap != NULL);
        for (size_t i = 0; i < 40; i++) {
            void *block = t_heap_malloc(heap, i * i * 7);
            CHECK(block != NULL);
            memset(block, (int)i, i * i * 7);
            if (i % 3 == 0)
                t_free(block);
        }
        if (round % 200 == 0)
            CHECK(t_heap_aligned_alloc(heap, 64 * KIB, 5 * MIB) != NULL);
        hak_heap_destroy(heap);
        if (round == ROUNDS / 10) {
            mapped = stats_now().mapped_bytes;
            heaps = stats_now().heaps;
        }
    }
    hak_stats_t stats = stats_now();
    CHECKF(stats.mapped_bytes <= mapped + 16 * MIB, " (mapped %llu then %llu)",
           (unsigned long long)mapped, (unsigned long long)stats.mapped_bytes);
    CHECKF(stats.heaps <= heaps + 2, " (%llu heaps then %llu)", (unsigned long long)heaps,
           (unsigned long long)stats.heaps);

    enum { AT_ONCE = 100 };
    hak_heap_t *all[AT_ONCE];
    unsigned char *first[AT_ONCE];
    for (size_t i = 0; i < AT_ONCE; i++) {
        all[i] = hak_heap_create();
        CHECK(all[i] != NULL);
        first[i] = (unsigned char *)t_heap_malloc(all[i], 5000);
        CHECK(first[i] != NULL);
        test_fill(first[i], 5000, i);
    }
    for (size_t i = 0; i < AT_ONCE; i += 2)
        hak_heap_destroy(all[i]);
    for (size_t i = 1; i < AT_ONCE; i += 2) {
        CHECK_PATTERN(first[i], 5000, 5000, i);
        hak_heap_destroy(all[i]);
    }
    CHECK(t_check() == 0);
}

/* ---- threads ---- */

enum { THREADS = 4, SLOTS = 300 };

typedef struct shared {
    hak_heap_t *heap;
    pthread_barrier_t barrier;
    void *handed[THREADS][SLOTS];
    size_t sizes[THREADS][SLOTS];
    hak_heap_t *second;
} shared_t;

typedef struct worker {
    shared_t *shared;
    size_t index;
} worker_t;

static void meet(shared_t *shared)
{
    int result = pthread_barrier_wait(&shared->barrier);
    CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void churn(hak_heap_t *heap, test_rng_t *rng, size_t operations)
{
    struct {
        unsigned char *block;
        size_t size;
        uint64_t id;
    } held[64];
    memset(held, 0, sizeof held);
    for (size_t i = 0; i < operations; i++) {
        size_t slot = test_below(rng, TEST_COUNT(held));
        if (held[slot].block != NULL) {
            CHECK_PATTERN(held[slot].block, held[slot].size, held[slot].size, held[slot].id);
            if (i % 5 == 0) {
                size_t size = test_log_size(rng, 15) + 1;
                unsigned char *moved = (unsigned char *)t_realloc(held[slot].block, size);
                CHECK(moved != NULL);
                CHECK_PATTERN(moved, held[slot].size < size ? held[slot].size : size,
                              held[slot].size, held[slot].id);
                held[slot].block = moved;
                held[slot].size = size;
                test_fill(moved, size, held[slot].id);
                continue;
            }
            t_free(held[slot].block);
        }
        size_t size = test_log_size(rng, i % 200 == 0 ? 20 : 12);
        held[slot].block =
            (unsigned char *)(heap != NULL ? t_heap_malloc(heap, size) : t_malloc(size));
        CHECK(held[slot].block != NULL);
        held[slot].size = size;
        held[slot].id = test_next(rng);
        test_fill(held[slot].block, size, held[slot].id);
    }
    for (size_t i = 0; i < TEST_COUNT(held); i++)
        t_free(held[i].block);
}

static void *work(void *argument)
{
    worker_t *self = (worker_t *)argument;
    shared_t *shared = self->shared;
    test_rng_t rng = test_rng(1000 + self->index);
    size_t operations = TEST_SANITIZED ? 4000 : 20000;

    /* All threads in one heap at once, then each in the common one. */
    churn(shared->heap, &rng, operations);
    churn(NULL, &rng, operations / 4);

    /* Blocks of the heap, freed by the next thread; some stay. */
    for (size_t i = 0; i < SLOTS; i++) {
        size_t size = test_log_size(&rng, 14);
        shared->handed[self->index][i] = t_heap_malloc(shared->heap, size);
        shared->sizes[self->index][i] = size;
        CHECK(shared->handed[self->index][i] != NULL);
        test_fill(shared->handed[self->index][i], size, self->index * 1000 + i);
    }
    meet(shared);
    size_t from = (self->index + 1) % THREADS;
    for (size_t i = 0; i < SLOTS; i++) {
        size_t size = shared->sizes[from][i];
        CHECK_PATTERN(shared->handed[from][i], size, size, from * 1000 + i);
        if (i % 4 != 0)
            t_free(shared->handed[from][i]);
    }
    meet(shared);
    /* Main destroys the heap here.  What this thread still caches of it must not come back. */
    meet(shared);
    churn(NULL, &rng, operations / 2);
    churn(shared->second, &rng, operations / 2);
    meet(shared);
    return NULL;
}

static void threads_in_a_heap(void)
{
    static shared_t shared;
    for (size_t round = 0; round < 5; round++) {
        worker_t workers[THREADS];
        pthread_t threads[THREADS];
        shared.heap = hak_heap_create();
        CHECK(shared.heap != NULL);
        CHECK(pthread_barrier_init(&shared.barrier, NULL, THREADS + 1) == 0);
        for (size_t i = 0; i < THREADS; i++) {
            workers[i] = (worker_t){&shared, i};
            threads[i] = test_thread(work, &workers[i]);
        }
        meet(&shared);
        meet(&shared);
        CHECK(t_check() == 0);
        hak_heap_destroy(shared.heap);
        shared.second = hak_heap_create();
        CHECK(shared.second != NULL);
        CHECK(t_check() == 0);
        meet(&shared);
        meet(&shared);
        for (size_t i = 0; i < THREADS; i++)
            test_join(threads[i]);
        CHECK(pthread_barrier_destroy(&shared.barrier) == 0);
        hak_heap_destroy(shared.second);
        CHECK(t_check() == 0);
    }
}

static void *allocate_in(void *argument)
{
    hak_heap_t *heap = (hak_heap_t *)argument;
    enum { COUNT = 500 };
    void **blocks = (void **)t_heap_calloc(heap, COUNT, sizeof(void *));
    CHECK(blocks != NULL);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = t_heap_malloc(heap, 10 + i * 3);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], 10 + i * 3, i);
    }
    return blocks;
}

/* A heap outlives the thread that used it; its blocks are good until it is destroyed, by whichever
 * thread. */
static void *destroy_it(void *argument)
{
    hak_heap_destroy((hak_heap_t *)argument);
    return NULL;
}

static void threads_come_and_go(void)
{
    for (size_t round = 0; round < 40; round++) {
        hak_heap_t *heap = hak_heap_create();
        CHECK(heap != NULL);
        void *result = NULL;
        CHECK(pthread_join(test_thread(allocate_in, heap), &result) == 0);
        void **blocks = (void **)result;
        for (size_t i = 0; i < 500; i++) {
            CHECK_PATTERN(blocks[i], 10 + i * 3, 10 + i * 3, i);
            if (i % 2 == round % 2)
                t_free(blocks[i]);
        }
        CHECK(pthread_join(test_thread(allocate_in, heap), &result) == 0);
        if (round % 2 == 0) {
            hak_heap_destroy(heap);
        } else {
            test_join(test_thread(destroy_it, heap));
        }
    }
    CHECK(t_check() == 0);
}

/* Ends in a child that takes a block of a heap, frees it, writes to it, and destroys the heap. */
static bool late_write_is_found(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        hak_heap_t *heap = hak_heap_create();
        volatile char *block = (volatile char *)t_heap_malloc(heap, 100);
        t_free((void *)(uintptr_t)block);
        block[50] = 1;
        hak_heap_destroy(heap);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* With HAKMEM_HARDEN a heap has a quarantine: what is freed does not come back at once, nor is it
 * lost. */
static void freed_blocks_wait(void)
{
    bool hardened = getenv("HAKMEM_HARDEN") != NULL;
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    char *first = (char *)t_heap_malloc(heap, 100);
    CHECK(first != NULL);
    t_free(first);
    char *next = (char *)t_heap_malloc(heap, 100);
    CHECK(next != NULL && (!hardened || next != first));
    t_free(next);
    bool seen = false;
    for (size_t i = 0; i < 100000 && !seen; i++) {
        char *block = (char *)t_heap_malloc(heap, 100);
        CHECK(block != NULL);
        seen = block == first;
        t_free(block);
    }
    CHECK(seen);
    hak_heap_destroy(heap);
    CHECK(!hardened || late_write_is_found());
}

/* What was counted of a heap stays counted, and what goes with it has been given back. */
static void figures_only_rise(void)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    for (int i = 0; i < 4000; i++) {
        void *block = t_heap_malloc(heap, 1000);
        CHECK(block != NULL);
        memset(block, 1, 1000);
    }
    hak_stats_t before = stats_now();
    hak_heap_destroy(heap);
    hak_stats_t after = stats_now();
    for (size_t stage = 0; stage < TEST_COUNT(after.stage_acquires); stage++)
        CHECK(after.stage_acquires[stage] >= before.stage_acquires[stage]);
    CHECK(after.purged_bytes >= before.purged_bytes + 3 * MIB);
}

int main(void)
{
    basics();
    figures_only_rise();
    freed_blocks_wait();
    failures();
    resized_blocks_stay();
    moves_into_another_heap();
    many_heaps();
    threads_in_a_heap();
    threads_come_and_go();
    CHECK(t_check() == 0);
    puts("api_heaps: ok");
    return 0;
}
