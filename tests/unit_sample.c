/*
 * How often blocks are sampled in a program that allocates and frees by chance: it goes back and
 * forth about its magazines' ends, and seldom loads one.
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

int main(void)
{
    static void *slots[SLOTS];
    test_rng_t rng = test_rng(1);
    unsigned allocated = 0;
    unsigned sampled = 0;
    hk_options.guard_sample = EVERY;
    hk_guard_start(EVERY, false, false);
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
    CHECK(hak_check() == 0);
    return 0;
}
