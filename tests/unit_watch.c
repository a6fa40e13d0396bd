/*
 * Memory that is free goes back although the calls that are still made could all be served by
 * magazines: each block that is freed is the next one that is allocated.  So there is a watch,
 * which traps such calls, and once there is nothing to give back any more they are fast again.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fake_os.h"
#include "policy.h"
#include "stats_now.h"
#include "thread.h"

enum {
    FREED_BYTES = 48 << 20,
    NODE_BYTES = 100,
    LIST_BYTES = 40000,
    BUFFER_BYTES = 100000,
    WARM_UP = 1000,       /* pairs, so that magazines are loaded */
    GAP_MS = 10,          /* between two pairs of a thread that calls seldom */
    BUSY_PAIRS = 5000,    /* of one that is busy, in a millisecond */
    PATIENCE_MS = 40000,  /* until all is given back */
    LEFT_BYTES = 6 << 20, /* but for this */
    PAUSE_MS = 5000,
    OWNERS = 4,
    EACH = FREED_BYTES / OWNERS / LIST_BYTES,
    WORKERS = 6,                                /* each with a heap of its own, */
    WORKED_BYTES = HK_BUSY_BYTES - (512 << 10), /* and so much, all in all enough for a watch */
    WATCH_MS = 1000 + 100, /* how long a watch lasts after the last that somebody knew, or more */
};

static void *blocks[FREED_BYTES / NODE_BYTES];

static void pair(size_t size)
{
    void *block = hak_malloc(size);
    CHECK(block != NULL);
    hak_free(block);
}

static void take_and_free(size_t size, uint64_t ms)
{
    size_t count = FREED_BYTES / size;
    for (size_t i = 0; i < count; i++)
        CHECK((blocks[i] = hak_malloc(size)) != NULL);
    for (size_t i = 0; i < count; i++) {
        hak_free(blocks[i]);
        if (ms > 0 && i % (count / ms + 1) == 0)
            fake_os_advance(1);
    }
    CHECK(stats_now().committed_bytes > FREED_BYTES);
}

/* The thread goes on with pairs; what is free goes. */
static void wait_with_pairs(size_t size, unsigned pairs, unsigned gap_ms)
{
    unsigned ms = 0;
    for (; stats_now().committed_bytes > LEFT_BYTES; ms += gap_ms) {
        CHECKF(ms < PATIENCE_MS, " (%zu KiB are left)", (size_t)stats_now().committed_bytes / 1024);
        for (unsigned i = 0; i < pairs; i++)
            pair(size);
        fake_os_advance(gap_ms);
    }
}

/* The watch ends, and then nothing is trapped: the fast paths serve. */
static void watch_ends(size_t size)
{
    for (unsigned ms = 0; hk_cache_watch_is_on(); ms++) {
        CHECK(ms < 2 * WATCH_MS);
        pair(size);
        fake_os_advance(1);
    }
    fake_os_advance(1);
    for (int i = 0; i < WARM_UP; i++)
        pair(size);
    CHECK(!hk_cache_is_watched(hk_thread_own));
    CHECK(hak_check() == 0);
}

static void seldom(size_t size)
{
    take_and_free(size, 0);
    wait_with_pairs(size, 1, GAP_MS);
    watch_ends(size);
}

static void seldom_nodes(void)
{
    seldom(NODE_BYTES);
}

static void seldom_lists(void)
{
    seldom(LIST_BYTES);
}

static void seldom_buffers(void)
{
    test_use_up_apart(hak_malloc, hak_free);
    seldom(BUFFER_BYTES);
}

/* Nobody calls for a while, in which nobody sees that nothing goes. */
static void after_a_pause(size_t size)
{
    take_and_free(size, 0);
    fake_os_advance(PAUSE_MS);
    wait_with_pairs(NODE_BYTES, 1, GAP_MS);
    watch_ends(NODE_BYTES);
}

static void nodes_after_a_pause(void)
{
    after_a_pause(NODE_BYTES);
}

static void lists_after_a_pause(void)
{
    after_a_pause(LIST_BYTES);
}

static void buffers_after_a_pause(void)
{
    test_use_up_apart(hak_malloc, hak_free);
    after_a_pause(BUFFER_BYTES);
}

/* The same each time: a call gives some of it. */
static void each_second(void)
{
    test_use_up_apart(hak_malloc, hak_free);
    take_and_free(BUFFER_BYTES, 0);
    wait_with_pairs(NODE_BYTES, 1, 1000);
    watch_ends(NODE_BYTES);
}

/* What is free was in use in between, and nobody saw that. */
static void again_and_again(void)
{
    enum { TIMES = 100 };
    test_use_up_apart(hak_malloc, hak_free);
    for (int i = 0; i < TIMES; i++) {
        take_and_free(BUFFER_BYTES, 0);
        fake_os_advance(300);
    }
    fake_os_advance(PAUSE_MS);
    wait_with_pairs(NODE_BYTES, 1, GAP_MS);
    watch_ends(NODE_BYTES);
}

/* So slowly that steps come by in between. */
static void after_steps(void)
{
    take_and_free(NODE_BYTES, 100);
    wait_with_pairs(NODE_BYTES, 1, GAP_MS);
    watch_ends(NODE_BYTES);
}

static void busy(void)
{
    take_and_free(NODE_BYTES, 0);
    wait_with_pairs(NODE_BYTES, BUSY_PAIRS, 1);
    watch_ends(NODE_BYTES);
}

/* First so many calls that nearly all may pass, then few. */
static void busy_then_seldom(void)
{
    take_and_free(NODE_BYTES, 0);
    for (int i = 0; i < 20 * BUSY_PAIRS; i++)
        pair(NODE_BYTES);
    wait_with_pairs(NODE_BYTES, 1, 4 * GAP_MS);
    watch_ends(NODE_BYTES);
}

static pthread_barrier_t barrier, all_awake;

/* Of four blocks in a row one stays. */
static void leave_sparse(void **from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK((from[i] = hak_malloc(NODE_BYTES)) != NULL);
    for (size_t i = 0; i < count; i++)
        if (i % 4 != 0)
            hak_free(from[i]);
}

/* Live blocks all over the slabs: what is free cannot go, so there is no watch for long. */
static void sparse(void)
{
    leave_sparse(blocks, FREED_BYTES / NODE_BYTES);
    CHECK(hk_cache_watch_is_on());
    for (int ms = 0; ms < PATIENCE_MS && hk_cache_watch_is_on(); ms += GAP_MS) {
        pair(NODE_BYTES);
        fake_os_advance(GAP_MS);
    }
    CHECK(stats_now().committed_bytes > FREED_BYTES);
    watch_ends(NODE_BYTES);
}

static atomic_bool done;

static void *come_by_each_second(void *argument)
{
    leave_sparse(argument, 2 * HK_BUSY_BYTES / NODE_BYTES);
    while (!done) {
        (void)pthread_barrier_wait(&barrier);
        pair(NODE_BYTES);
        (void)pthread_barrier_wait(&barrier);
    }
    return NULL;
}

/* The same, beside a thread that is busy for a moment each second, and has such slabs too. */
static void sparse_beside_another(void)
{
    enum { MINE = FREED_BYTES * 3 / 4 / NODE_BYTES };
    pthread_t other;
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    CHECK(pthread_create(&other, NULL, come_by_each_second, blocks + MINE) == 0);
    leave_sparse(blocks, MINE);
    CHECK(hk_cache_watch_is_on());
    for (int ms = 0; !done; ms += GAP_MS) {
        pair(NODE_BYTES);
        fake_os_advance(GAP_MS);
        if (ms % 1000 == 0) {
            (void)pthread_barrier_wait(&barrier);
            done = ms >= PATIENCE_MS || !hk_cache_watch_is_on();
            (void)pthread_barrier_wait(&barrier);
        }
    }
    CHECK(pthread_join(other, NULL) == 0);
    watch_ends(NODE_BYTES);
}

static void *free_and_sleep(void *argument)
{
    take_and_free(*(const size_t *)argument, 0);
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_barrier_wait(&barrier);
    return NULL;
}

/* What another thread has freed, which then sleeps; this one has been at its pairs all the time. */
static void others(size_t size, unsigned pairs, unsigned gap_ms)
{
    pthread_t thread;
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    for (int i = 0; i < WARM_UP; i++)
        pair(NODE_BYTES);
    CHECK(!hk_cache_is_watched(hk_thread_own));
    CHECK(pthread_create(&thread, NULL, free_and_sleep, &size) == 0);
    (void)pthread_barrier_wait(&barrier);
    wait_with_pairs(NODE_BYTES, pairs, gap_ms);
    watch_ends(NODE_BYTES);
    (void)pthread_barrier_wait(&barrier);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void others_nodes(void)
{
    others(NODE_BYTES, 1, GAP_MS);
}

static void others_lists(void)
{
    others(LIST_BYTES, 1, GAP_MS);
}

static void others_busy(void)
{
    others(NODE_BYTES, BUSY_PAIRS, 1);
}

typedef struct owned {
    void **blocks;
    int count;
} owned_t;

static void *allocate_and_sleep(void *argument)
{
    const owned_t *owned = argument;
    for (int i = 0; i < owned->count; i++)
        CHECK((owned->blocks[i] = hak_malloc(LIST_BYTES)) != NULL);
    (void)pthread_barrier_wait(&barrier);
    (void)pthread_barrier_wait(&all_awake);
    return NULL;
}

static void *free_for_another(void *argument)
{
    size_t count = FREED_BYTES / *(const size_t *)argument;
    for (int i = 0; i < WARM_UP; i++)
        pair(NODE_BYTES);
    for (size_t i = 0; i < count; i++)
        hak_free(blocks[i]);
    wait_with_pairs(NODE_BYTES, 1, GAP_MS);
    watch_ends(NODE_BYTES);
    return NULL;
}

/* What this thread has freed for another one, which sleeps. */
static void remote(void)
{
    size_t size = LIST_BYTES;
    pthread_t thread;
    for (size_t i = 0; i < FREED_BYTES / size; i++)
        CHECK((blocks[i] = hak_malloc(size)) != NULL);
    CHECK(pthread_create(&thread, NULL, free_for_another, &size) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* What this thread has freed for several others, so many blocks for each; then goes on. */
static void for_several(int threads, int each, void (*go_on)(void))
{
    pthread_t owners[WORKERS];
    owned_t owned[WORKERS];
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0 &&
          pthread_barrier_init(&all_awake, NULL, (unsigned)threads + 1) == 0);
    for (int i = 0; i < threads; i++) {
        owned[i] = (owned_t){blocks + i * each, each};
        CHECK(pthread_create(&owners[i], NULL, allocate_and_sleep, &owned[i]) == 0);
        (void)pthread_barrier_wait(&barrier);
    }
    for (int i = 0; i < WARM_UP; i++)
        pair(NODE_BYTES);
    for (int i = 0; i < threads * each; i++)
        hak_free(blocks[i]);
    go_on();
    wait_with_pairs(NODE_BYTES, 1, GAP_MS);
    watch_ends(NODE_BYTES);
    (void)pthread_barrier_wait(&all_awake);
    for (int i = 0; i < threads; i++)
        CHECK(pthread_join(owners[i], NULL) == 0);
}

static void watched(void)
{
    CHECK(hk_cache_watch_is_on());
}

/* Each of their inboxes has room for it. */
static void remote_to_several(void)
{
    for_several(OWNERS, EACH, watched);
}

static void step(size_t size)
{
    void *block = hak_malloc(size); /* of a class that was not used before: a slow path */
    CHECK(block != NULL);
    fake_os_advance(GAP_MS);
    hak_free(block);
}

static void watched_later(void)
{
    step(1000);
    CHECK(!hk_cache_watch_is_on());
    fake_os_advance(HK_BUSY_MS);
    step(2000);
    CHECK(hk_cache_watch_is_on());
}

/* What threads work with that are there just now begins no watch; once they are not, it does. */
static void in_work(void)
{
    for_several(WORKERS, WORKED_BYTES / LIST_BYTES, watched_later);
}

/* Memory that is in use all the time, in whatever way it comes and goes, begins no watch. */
static void in_use(void)
{
    enum { ROUNDS = 64, SETS = 8 };
    static const size_t sizes[] = {NODE_BYTES, LIST_BYTES, BUFFER_BYTES, 70001, 1 << 20};
    for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
        size_t count = (4 << 20) / sizes[s];
        for (int round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < count; i++)
                CHECK((blocks[i] = hak_malloc(sizes[s])) != NULL);
            for (size_t i = 0; i < count; i++)
                hak_free(blocks[i]);
            for (int i = 0; i < SETS; i++) {
                void *growing = hak_malloc(sizes[s]);
                for (size_t times = 2; times <= 4; times++)
                    CHECK((growing = hak_realloc(growing, times * sizes[s])) != NULL);
                hak_free(growing);
            }
        }
        CHECKF(!hk_cache_watch_is_on(), " (blocks of %zu)", sizes[s]);
    }
}

/* Each in a process of its own. */
int main(int argc, char **argv)
{
    const test_case_t cases[] = {
        {"seldom_nodes", seldom_nodes, 0},
        {"seldom_lists", seldom_lists, 0},
        {"seldom_buffers", seldom_buffers, 0},
        {"nodes_after_a_pause", nodes_after_a_pause, 0},
        {"lists_after_a_pause", lists_after_a_pause, 0},
        {"buffers_after_a_pause", buffers_after_a_pause, 0},
        {"each_second", each_second, 0},
        {"again_and_again", again_and_again, 0},
        {"after_steps", after_steps, 0},
        {"busy", busy, 0},
        {"busy_then_seldom", busy_then_seldom, 0},
        {"sparse", sparse, 0},
        {"sparse_beside_another", sparse_beside_another, 0},
        {"others_nodes", others_nodes, 0},
        {"others_lists", others_lists, 0},
        {"others_busy", others_busy, 0},
        {"remote", remote, 0},
        {"remote_to_several", remote_to_several, 0},
        {"in_work", in_work, 0},
        {"in_use", in_use, 0},
    };
    return test_cases(argc, argv, cases, TEST_COUNT(cases), 60);
}
