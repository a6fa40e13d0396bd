/*
 * hak_check, hak_trim and the statistics while other threads are at work, and hand each other
 * blocks to free: a check finds nothing, and nobody is harmed.
 *
 *     stress_check [seed [checks]]
 */
#include "hak_names.h"
#include <stdatomic.h>

enum { THREADS = 3, HELD = 400, PASSED = 256 };

static atomic_bool stop;
static atomic_ullong rounds[THREADS + 1];
static uint64_t seed;
static _Atomic(void *) passed[PASSED]; /* blocks that the next comer frees */

static void *work(void *argument)
{
    test_rng_t rng = test_rng(seed + (uintptr_t)argument);
    struct {
        void *block;
        size_t size;
        uint64_t id;
    } held[HELD];
    memset(held, 0, sizeof held);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        for (size_t i = 0; i < 1000; i++) {
            size_t slot = test_below(&rng, HELD);
            if (held[slot].block != NULL) {
                CHECK_PATTERN(held[slot].block, held[slot].size, held[slot].size, held[slot].id);
                t_free(test_below(&rng, 2) == 0
                           ? held[slot].block
                           : atomic_exchange(&passed[test_below(&rng, PASSED)], held[slot].block));
            }
            held[slot].size = test_log_size(&rng, i % 100 == 0 ? 21 : 13);
            held[slot].id = test_next(&rng);
            held[slot].block = t_malloc(held[slot].size);
            CHECK(held[slot].block != NULL);
            test_fill(held[slot].block, held[slot].size, held[slot].id);
        }
        atomic_fetch_add_explicit(&rounds[(uintptr_t)argument], 1, memory_order_relaxed);
    }
    for (size_t i = 0; i < HELD; i++)
        t_free(held[i].block);
    return NULL;
}

/* Checks go on until each thread has done this much, however fast a check is. */
static bool all_have_done(uint64_t least)
{
    for (size_t i = 1; i <= THREADS; i++) {
        if (atomic_load_explicit(&rounds[i], memory_order_relaxed) < least)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    seed = test_arg(argc, argv, 1, 5);
    uint64_t checks = test_arg(argc, argv, 2, TEST_SANITIZED ? 100 : 500);
    printf("stress_check: seed %llu, %llu checks\n", (unsigned long long)seed,
           (unsigned long long)checks);
    fflush(stdout);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(work, (void *)(uintptr_t)(i + 1));
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(null_fd >= 0);
    for (uint64_t i = 0; i < checks || !all_have_done(checks / 2); i++) {
        size_t found = t_check();
        CHECKF(found == 0, " (%zu violations in check %llu)", found, (unsigned long long)i);
        hak_stats_t stats;
        CHECK(hak_stats_get(&stats, sizeof stats) == 0);
        if (i % 4 == 0)
            (void)hak_trim(0);
        if (i % 4 == 1)
            CHECK(hak_stats_json(null_fd) == 0);
        if (i % 4 == 2)
            CHECK(hak_stats_print(null_fd) == 0);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    for (size_t i = 0; i < PASSED; i++)
        t_free(passed[i]);
    CHECK(t_check() == 0);
    puts("stress_check: ok");
    return 0;
}
