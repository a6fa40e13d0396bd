/*
 * When a small process grows, a thread's magazines of large blocks are given up, so that their
 * blocks serve what it grows by.  In a large process, of which they are a small share, they stay.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "cache.h"
#include "fake_os.h"
#include "policy.h"
#include "thread.h"

enum {
    LARGE_BYTES_MIN = 8 << 10,
    LARGE_BYTES_MAX = 64 << 10,
    USES = 200, /* so that every class has magazines of its largest kind */
    SMALL_BYTES = 512,
    GROWTH_BYTES = 2 << 20,
    REST_BYTES = 256 << 20,
};

static uint64_t cached_bytes(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats.cache_bytes;
}

static uint64_t committed_bytes(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats.committed_bytes;
}

/* Leaves both magazines of each class with blocks. */
static void stock(void)
{
    for (size_t size = LARGE_BYTES_MIN; size <= LARGE_BYTES_MAX; size += size / 8) {
        void *blocks[8];
        for (int use = 0; use < USES; use++) {
            for (int i = 0; i < 8; i++)
                CHECK((blocks[i] = hak_malloc(size)) != NULL);
            for (int i = 0; i < 8; i++)
                hak_free(blocks[i]);
        }
    }
}

static void grow(void)
{
    for (size_t bytes = 0; bytes < GROWTH_BYTES; bytes += SMALL_BYTES)
        CHECK(hak_malloc(SMALL_BYTES) != NULL);
}

int main(void)
{
    stock();
    uint64_t before = cached_bytes();
    uint64_t committed = committed_bytes();
    CHECKF(before > hk_policy_stock_bytes(committed), " (%zu of %zu)", (size_t)before,
           (size_t)committed);
    grow();
    CHECKF(cached_bytes() < before / 4, " (%zu of %zu)", (size_t)cached_bytes(), (size_t)before);
    CHECKF(committed_bytes() < committed + GROWTH_BYTES - before / 2, " (%zu, then %zu)",
           (size_t)committed, (size_t)committed_bytes());

    void *rest = hak_malloc(REST_BYTES);
    CHECK(rest != NULL);
    stock();
    before = cached_bytes();
    CHECK(before < hk_policy_stock_bytes(committed_bytes()));
    grow();
    CHECKF(cached_bytes() > before / 2, " (%zu of %zu)", (size_t)cached_bytes(), (size_t)before);
    hak_free(rest);
    CHECK(hak_check() == 0);
    return 0;
}
