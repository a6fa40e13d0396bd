/*
 * A program that asks mostly for one size gets a class that fits it: smaller blocks, and all else as it was.  What lies free in
 * the class below which it was made still serves it, whoever freed it, and a double free of such a block is found.
 */
#include "hak_names.h"

#include <signal.h>

#include "sizeclass.h"

enum {
    SIZE = 4112, /* a page and a header */
    BLOCKS = 6000,
    STEPS = 60000,
    THREADS = 12, /* more than there are heaps on two processors: some share theirs */
    SHARE = BLOCKS / THREADS,
};

static const size_t sizes[] = {SIZE, 520, 1040, 8208, 16400};

static struct {
    unsigned char *block;
    uint64_t id;
    size_t size;
} slot[BLOCKS];

static pthread_mutex_t locks[BLOCKS / SHARE];

static void take(size_t i, size_t size, uint64_t id)
{
    slot[i].block = t_malloc(size);
    CHECK(slot[i].block != NULL && test_is_aligned(slot[i].block, HK_GRANULE_BYTES));
    slot[i].size = size;
    slot[i].id = id;
    test_fill(slot[i].block, size, id);
}

static void give(size_t i)
{
    if (slot[i].block == NULL)
        return;
    CHECK_PATTERN(slot[i].block, slot[i].size, slot[i].size, slot[i].id);
    CHECK(hak_usable_size(slot[i].block) >= slot[i].size);
    t_free(slot[i].block);
    slot[i].block = NULL;
}

static hak_stats_t stats_now(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats;
}

/* One thread: from a program's first block of the size to a class of its own. */
static bool check_growth(void)
{
    void *first = t_malloc(SIZE);
    size_t usable = hak_usable_size(first);
    for (size_t i = 0; i < BLOCKS; i++)
        take(i, SIZE, i);
    bool fits = stats_now().fitted_classes == 1;
    /* Hardened blocks are as large as they were asked for: they need no such class, and do not vote. */
    CHECKF(fits == (usable > SIZE), " (%zu usable)", usable);
    CHECK(!fits || hak_usable_size(slot[BLOCKS - 1].block) < usable);
    CHECK(hak_check() == 0);
    t_free(first);
    return fits;
}

/* Blocks come and go at random: those of the parent's slabs that become free are used again. */
static void check_replacement(void)
{
    test_rng_t rng = test_rng(1);
    size_t before = stats_now().committed_bytes;
    for (size_t step = 0; step < STEPS; step++) {
        size_t i = test_below(&rng, BLOCKS);
        give(i);
        take(i, SIZE, step);
    }
    size_t after = stats_now().committed_bytes;
    CHECKF(after <= before + before / 16, " (%zu KiB, then %zu)", before / KIB, after / KIB);
    CHECK(hak_check() == 0);
}

/* realloc into, within and out of the fitted class keeps what is there. */
static void check_realloc(void)
{
    static const size_t steps[] = {SIZE, SIZE + 8, 4600, 5000, SIZE, 100, SIZE, 4096, 70000, SIZE};
    unsigned char *block = NULL;
    size_t size = 0;
    for (size_t i = 0; i < 1000; i++) {
        size_t next = steps[i % TEST_COUNT(steps)];
        block = t_realloc(block, next);
        CHECK(block != NULL && hak_usable_size(block) >= next);
        size_t kept = size < next ? size : next;
        CHECK_PATTERN(block, kept, size, 7);
        test_fill(block, next, 7);
        size = next;
    }
    t_free(block);
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        block = t_aligned_alloc(alignment, SIZE);
        CHECK(block != NULL && test_is_aligned(block, alignment));
        t_free(block);
    }
}

/* Threads take blocks of several sizes into any slot: most are freed by others than took them. */
static void *worker(void *argument)
{
    test_rng_t rng = test_rng((uint64_t)(uintptr_t)argument);
    for (size_t step = 0; step < STEPS / 4; step++) {
        size_t i = test_below(&rng, BLOCKS);
        size_t which = test_below(&rng, TEST_COUNT(sizes));
        CHECK(pthread_mutex_lock(&locks[i / SHARE]) == 0);
        give(i);
        take(i, sizes[which] - (step % 8 == 0) * test_below(&rng, 64), step);
        CHECK(pthread_mutex_unlock(&locks[i / SHARE]) == 0);
    }
    return NULL;
}

static void check_threads(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_mutex_init(&locks[i], NULL) == 0);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(worker, (void *)(uintptr_t)(i + 1));
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    CHECK(hak_check() == 0);
}

/* Frees a block twice, some others in between; in a child, which must end by that. */
static void check_double_free(size_t i)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(dup2(open("/dev/null", O_WRONLY), 2) == 2);
        void *block = slot[i].block;
        give(i);
        for (size_t other = 0; other < 8; other++)
            give((i + 1 + other) % BLOCKS);
        t_free(block);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    bool fits = check_growth();
    check_double_free(0);
    check_double_free(BLOCKS - 1);
    check_replacement();
    check_double_free(0);
    check_double_free(BLOCKS / 2);
    check_realloc();
    check_threads();
    CHECK(!fits || stats_now().fitted_classes >= 1);
    for (size_t i = 0; i < BLOCKS; i++)
        give(i);
    CHECK(hak_check() == 0);
    (void)hak_trim(0);
    CHECKF(stats_now().in_use_bytes < 4 * MIB, " (%zu KiB)",
           (size_t)stats_now().in_use_bytes / KIB);
    return 0;
}
