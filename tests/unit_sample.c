/*
 * How often blocks are sampled: by the counter itself, and in a program that allocates and frees by
 * chance: it goes back and forth about its magazines' ends, and seldom loads one.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "guard.h"
#include "options.h"
#include "registry.h"

enum { EVERY = 100, SELDOM = 8 * EVERY, SLOTS = 1024, CALLS = 1000000, SIZE = 40 };

static bool is_sampled(const void *block)
{
    return hk_registry_find(block)->kind == HK_REGION_GUARD;
}

/* Between two samples lie 1 to 2 * EVERY - 1 blocks, by chance.  So of n blocks about n / EVERY are
 * sampled, with a standard deviation of sqrt(n / EVERY / 3): 58 for a million blocks, 41 for half
 * of that.  A tenth of n / EVERY is 17 and 12 of these: a false alarm has a chance below 1e-30. */
static bool is_too_often(unsigned sampled, unsigned blocks)
{
    return sampled > blocks / EVERY + blocks / EVERY / 10;
}

/* A thread that asks at each block. */
static void check_counter(void)
{
    int64_t left = 0;
    unsigned sampled = 0;
    for (int call = 0; call < CALLS; call++) {
        sampled += hk_guard_is_due(&left, 1);
    }
    CHECKF(!is_too_often(sampled, CALLS), " (%u)", sampled);
    CHECKF(sampled > CALLS / EVERY - CALLS / EVERY / 10, " (%u)", sampled);
}

int main(void)
{
    static void *slots[SLOTS];
    test_rng_t rng = test_rng(1);
    unsigned allocated = 0;
    unsigned sampled = 0;
    hk_options.guard_sample = EVERY;
    hk_guard_start(EVERY, false, false);
    check_counter();
    for (int call = 0; call < CALLS; call++) {
        void **slot = &slots[test_below(&rng, SLOTS)];
        if (*slot != NULL) {
            hak_free(*slot);
            *slot = NULL;
        } else {
            CHECK((*slot = hak_malloc(SIZE)) != NULL);
            allocated++;
            sampled += is_sampled(*slot);
        }
    }
    CHECKF(sampled > allocated / SELDOM, " (%u of %u)", sampled, allocated);
    CHECKF(!is_too_often(sampled, allocated), " (%u of %u)", sampled, allocated);
    CHECK(hak_check() == 0);
    return 0;
}
