/*
 * The pool: its stages in their order, what it gives back and what it keeps, and what it does
 * without memory.  Every case works on a pool of its own.
 */
#include "test.h"

#include "fake_os.h"
#include "policy.h"
#include "pool.h"

enum { CLASS = HK_CLASS_COUNT - 1, UNITS = HK_SLAB_UNITS_MAX };

static char somebody; /* the address of the heap that acquires; the pool does not look into it */
static struct hk_heap *const heap = (struct hk_heap *)(void *)&somebody;

static hk_slab_t *acquire(hk_pool_t *pool, unsigned units)
{
    hk_slab_t *slab = hk_pool_acquire(pool, heap, units, CLASS);
    if (slab != NULL) {
        CHECK(slab->units == units && slab->class_index == CLASS && slab->heap == heap);
        CHECK(slab->superslab->pool == pool);
        CHECK(slab->first_unit >= 1 && slab->first_unit + units <= HK_SUPERSLAB_UNITS);
        for (unsigned unit = 0; unit < units; unit++)
            CHECK(hk_slab_find(hk_slab_base(slab) + (size_t)unit * HK_UNIT_BYTES + 1) == slab);
    }
    return slab;
}

/* Two slabs that fill a superslab, a new one if all others are full: the first, of units, is
 * returned; the rest is for the caller to release, so that it is warm. */
static hk_slab_t *acquire_two(hk_pool_t *pool, unsigned units, hk_slab_t **rest)
{
    hk_slab_t *slab = acquire(pool, units);
    *rest = acquire(pool, UNITS - units);
    CHECK((*rest)->superslab == slab->superslab);
    return slab;
}

#define CHECK_ACQUIRES(pool, warm, unused, new)                                                    \
    CHECKF((pool)->acquires[HK_STAGE_WARM] == (warm) &&                                            \
               (pool)->acquires[HK_STAGE_UNUSED] == (unused) &&                                    \
               (pool)->acquires[HK_STAGE_NEW] == (new) && (pool)->acquires[HK_STAGE_OWN] == 0,     \
           " (%d %d %d)", (int)(pool)->acquires[HK_STAGE_WARM],                                    \
           (int)(pool)->acquires[HK_STAGE_UNUSED], (int)(pool)->acquires[HK_STAGE_NEW])

/* Counts everything again, and compares. */
static void check_figures(hk_pool_t *pool)
{
    uint64_t superslabs = 0, used = 0;
    uint32_t warm = 0;
    for (unsigned list = 0; list <= UNITS; list++) {
        const hk_superslab_t *before = NULL;
        for (const hk_superslab_t *s = pool->by_free[list]; s != NULL; s = s->next) {
            CHECK(s->prev == before);
            CHECK((unsigned)__builtin_popcount(s->free_units) == list);
            CHECK(hk_registry_find(s->base) == &s->region);
            CHECK(((uintptr_t)s->base & (HK_SUPERSLAB_BYTES - 1)) == 0);
            CHECK(((s->free_units | s->dirty_units) & 1) == 0); /* the live bits' */
            CHECK(hk_slab_find(s->base) == NULL &&
                  hk_slab_find(s->base + HK_UNIT_BYTES - 1) == NULL);
            superslabs++;
            used += UNITS - list;
            warm += (uint32_t)__builtin_popcount(s->free_units & s->dirty_units);
            before = s;
        }
    }
    CHECK(superslabs == pool->superslabs);
    CHECK(used == pool->used_units);
    CHECK(warm == pool->warm_units);
    CHECK(!hk_lock_is_held(&pool->lock));
}

static void test_stages(void)
{
    static hk_pool_t pool;
    hk_slab_t *first = acquire(&pool, 1);
    CHECK_ACQUIRES(&pool, 0, 0, 1);
    CHECK(first->first_unit == 1);
    hk_slab_t *second = acquire(&pool, 2);
    CHECK_ACQUIRES(&pool, 0, 1, 1);
    CHECK(second->first_unit == 2);
    CHECK(pool.used_units == 3 && pool.warm_units == 0 && pool.superslabs == 1);
    check_figures(&pool);

    /* What comes back is warm, and goes first. */
    memset(hk_slab_base(first), 1, HK_UNIT_BYTES);
    hk_pool_release(first, false);
    CHECK(pool.used_units == 2 && pool.warm_units == 1);
    CHECK(hk_slab_find(hk_slab_base(first)) == NULL);
    check_figures(&pool);
    CHECK(acquire(&pool, 1) == first);
    CHECK_ACQUIRES(&pool, 1, 1, 1);

    /* One warm unit is not enough for two. */
    hk_pool_release(first, false);
    hk_slab_t *third = acquire(&pool, 2);
    CHECK(third->first_unit == 4);
    CHECK_ACQUIRES(&pool, 1, 2, 1);

    /* A run half warm counts as unused. */
    hk_slab_t *fourth = acquire(&pool, 1); /* the warm unit 1 */
    CHECK(fourth->first_unit == 1);
    CHECK_ACQUIRES(&pool, 2, 2, 1);
    hk_slab_t *rest = acquire(&pool, UNITS - 5);
    CHECK_ACQUIRES(&pool, 2, 3, 1);
    CHECK(pool.by_free[0] == rest->superslab);
    hk_slab_t *beyond = acquire(&pool, 1);
    CHECK(beyond->superslab != rest->superslab);
    CHECK_ACQUIRES(&pool, 2, 3, 2);
    hk_pool_release(beyond, false);
    hk_slab_t *mixed = acquire(&pool, 2);
    CHECK(mixed->first_unit == 1 && mixed->superslab == beyond->superslab);
    CHECK_ACQUIRES(&pool, 2, 4, 2);
    CHECK(pool.warm_units == 0);
    check_figures(&pool);
    hk_pool_destroy(&pool);
}

static void test_whole_superslab(void)
{
    static hk_pool_t pool;
    hk_slab_t *whole = acquire(&pool, UNITS);
    CHECK(whole->first_unit == 1 && whole->superslab->free_units == 0);
    hk_slab_t *other = acquire(&pool, UNITS);
    CHECK(other->superslab != whole->superslab);
    CHECK_ACQUIRES(&pool, 0, 0, 2);
    hk_pool_release(whole, false);
    CHECK(pool.warm_units == UNITS);
    CHECK(acquire(&pool, UNITS) == whole);
    CHECK_ACQUIRES(&pool, 1, 0, 2);
    check_figures(&pool);
    hk_pool_destroy(&pool);
}

/* Three superslabs with so many units free. */
static void make_three(hk_pool_t *pool, hk_superslab_t *made[3], const unsigned free_units[3],
                       bool warm)
{
    hk_slab_t *rest[3];
    for (int i = 0; i < 3; i++)
        made[i] = acquire_two(pool, UNITS - free_units[i], &rest[i])->superslab;
    for (int i = 0; i < 3; i++)
        hk_pool_release(rest[i], false);
    if (!warm)
        CHECK(hk_pool_purge(pool, 0, 8) > 0);
    CHECK(pool->superslabs == 3);
    check_figures(pool);
}

static void test_fullest_first(void)
{
    for (int warm = 0; warm < 2; warm++) {
        static hk_pool_t pools[2];
        hk_pool_t *pool = &pools[warm];
        static const unsigned free_units[3] = {10, 3, 20};
        hk_superslab_t *made[3];
        make_three(pool, made, free_units, warm);
        CHECK(pool->warm_units == (warm ? 33u : 0u));
        hk_stage_t stage = warm ? HK_STAGE_WARM : HK_STAGE_UNUSED;
        uint64_t before = pool->acquires[stage];
        CHECK(acquire(pool, 1)->superslab == made[1]);
        CHECK(acquire(pool, 2)->superslab == made[1]); /* now it is full */
        CHECK(acquire(pool, 1)->superslab == made[0]);
        CHECK(acquire(pool, 15)->superslab == made[2]); /* the first that has room for it */
        CHECK(acquire(pool, 5)->superslab == made[2]);  /* 5 left there, 9 in the other */
        CHECK(acquire(pool, 9)->superslab == made[0]);
        CHECK(pool->acquires[stage] - before == 6 && pool->acquires[HK_STAGE_NEW] == 3);
        CHECK(pool->used_units == 3 * UNITS);
        check_figures(pool);
        hk_pool_destroy(pool);
    }
}

/* Committed units go before unused ones of a fuller superslab. */
static void test_warm_before_full(void)
{
    static hk_pool_t pool;
    hk_slab_t *full = acquire(&pool, UNITS - 1); /* one unit never used */
    hk_slab_t *other = acquire(&pool, 10);
    CHECK(other->superslab != full->superslab);
    hk_slab_t *behind = acquire(&pool, 10);
    CHECK(behind->superslab == other->superslab);
    hk_pool_release(behind, false);
    CHECK(acquire(&pool, 1)->superslab == other->superslab);
    CHECK_ACQUIRES(&pool, 1, 1, 2);
    CHECK(acquire(&pool, 9)->superslab == other->superslab);
    CHECK_ACQUIRES(&pool, 2, 1, 2);
    CHECK(acquire(&pool, 1)->superslab == full->superslab); /* no warm ones left */
    CHECK_ACQUIRES(&pool, 2, 2, 2);
    check_figures(&pool);
    hk_pool_destroy(&pool);
}

/* Enough free units in pieces are no run. */
static void test_fragments(void)
{
    static hk_pool_t pool;
    hk_slab_t *slabs[UNITS];
    for (unsigned i = 0; i < UNITS; i++)
        slabs[i] = acquire(&pool, 1);
    CHECK(pool.superslabs == 1);
    for (unsigned i = 0; i < UNITS; i += 2)
        hk_pool_release(slabs[i], false);
    CHECK(pool.warm_units == (UNITS + 1) / 2);
    hk_slab_t *pair = acquire(&pool, 2);
    CHECK(pair->superslab != slabs[0]->superslab);
    hk_pool_release(slabs[1], false); /* makes a run of three: units 1, 2, 3 */
    hk_slab_t *three = acquire(&pool, 3);
    CHECK(three->superslab == slabs[0]->superslab && three->first_unit == 1);
    hk_pool_release(slabs[UNITS - 2], false); /* makes the last three a run: 29, 30, 31 */
    hk_slab_t *last = acquire(&pool, 3);
    CHECK(last->superslab == slabs[0]->superslab && last->first_unit == 29);
    check_figures(&pool);
    hk_pool_destroy(&pool);
}

/* Which units a slab has, from when it is acquired until it goes back. */
static void test_units(void)
{
    static hk_pool_t pool;
    for (unsigned units = 1; units <= UNITS; units++) {
        hk_slab_t *slab = acquire(&pool, units);
        hk_superslab_t *superslab = slab->superslab;
        CHECK(superslab->free_units == (UINT32_MAX - 1) - hk_pool_mask(1, units));
        for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS; unit++) {
            hk_slab_t *found = hk_slab_find(superslab->base + (size_t)unit * HK_UNIT_BYTES);
            CHECK(found == (unit >= 1 && unit <= units ? slab : NULL));
        }
        CHECK(pool.used_units == units && pool.superslabs == 1);
        check_figures(&pool);
        hk_pool_release(slab, false);
        for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS; unit++)
            CHECK(hk_slab_find(superslab->base + (size_t)unit * HK_UNIT_BYTES) == NULL);
        CHECK(pool.used_units == 0 && pool.warm_units == units);
        check_figures(&pool);
    }
    hk_pool_destroy(&pool);
}

static void test_purge(void)
{
    static hk_pool_t pool;
    hk_slab_t *keeps[3], *rest[3];
    for (int i = 0; i < 3; i++) { /* 30, 24 and 11 warm units */
        static const unsigned left[3] = {1, 7, 20};
        keeps[i] = acquire_two(&pool, left[i], &rest[i]);
        memset(hk_slab_base(keeps[i]), 0xee, UNITS * HK_UNIT_BYTES);
        memset(keeps[i]->superslab->base + HK_LIVE_BYTES, 0xdd, HK_UNIT_BYTES - HK_LIVE_BYTES);
    }
    for (int i = 0; i < 3; i++)
        hk_pool_release(rest[i], false);
    CHECK(pool.warm_units == 65 && pool.superslabs == 3);

    size_t mapped = fake_os.mapped_bytes, purged = fake_os.purged_bytes;
    CHECK(hk_pool_purge(&pool, 65, 0) == 0);                  /* nothing beyond what is to stay */
    CHECK(hk_pool_purge(&pool, 35, 0) == 30 * HK_UNIT_BYTES); /* exactly what is beyond */
    CHECK(pool.warm_units == 35 && pool.purged_units == 30);  /* the emptiest first */
    CHECK((keeps[0]->superslab->dirty_units & keeps[0]->superslab->free_units) == 0);
    CHECK((keeps[1]->superslab->dirty_units & keeps[1]->superslab->free_units) != 0);
    CHECK(fake_os.purged_bytes - purged == 30 * HK_UNIT_BYTES);
    CHECK(fake_os.mapped_bytes == mapped);
    for (size_t i = 0; i < HK_UNIT_BYTES; i += 512) {
        CHECK(hk_slab_base(keeps[0])[i] == (char)0xee); /* what is in use stays */
        CHECK(hk_slab_base(keeps[0])[HK_UNIT_BYTES + i] == 0);
    }
    check_figures(&pool);

    /* The kernel refuses: all stays warm. */
    fake_os_fail_after(0);
    CHECK(hk_pool_purge(&pool, 0, 0) == 0);
    fake_os_heal();
    CHECK(pool.warm_units == 35 && pool.purged_units == 30);
    check_figures(&pool);
    hk_slab_t *dirty = acquire(&pool, 11);
    CHECK(dirty->superslab == keeps[2]->superslab);
    hk_pool_release(dirty, false);

    CHECK(hk_pool_purge(&pool, 0, 0) == 35 * HK_UNIT_BYTES);
    CHECK(pool.warm_units == 0 && pool.purged_units == 65 && pool.superslabs == 3);
    check_figures(&pool);
    hk_slab_t *clean = acquire(&pool, 11);
    CHECK(clean->superslab == keeps[2]->superslab);
    for (size_t i = 0; i < 11 * HK_UNIT_BYTES; i += 512)
        CHECK(hk_slab_base(clean)[i] == 0);
    hk_pool_release(clean, false);
    for (int i = 0; i < 3; i++) /* no purge touches the live bits */
        CHECK(test_is_filled_with(keeps[i]->superslab->base + HK_LIVE_BYTES, 0xdd,
                                  HK_UNIT_BYTES - HK_LIVE_BYTES));

    /* Empty superslabs go whole, but for those to keep. */
    for (int i = 0; i < 3; i++)
        hk_pool_release(keeps[i], false);
    check_figures(&pool);
    uint32_t warm = pool.warm_units;
    uint32_t of_two = warm; /* the fewest that stay warm when two of the three go */
    for (int i = 0; i < 3; i++) {
        uint32_t one = (uint32_t)__builtin_popcount(keeps[i]->superslab->dirty_units);
        of_two = one < of_two ? one : of_two;
    }
    CHECK(of_two > 0 && hk_pool_purge(&pool, warm, 0) == 0); /* as many units are to stay */
    CHECK(pool.superslabs == 3);
    CHECK(hk_pool_purge(&pool, of_two, 1) > 0);
    CHECK(pool.superslabs == 1);
    CHECK(mapped - fake_os.mapped_bytes == 2 * (size_t)HK_SUPERSLAB_BYTES);
    check_figures(&pool);
    (void)hk_pool_purge(&pool, 0, 0);
    CHECK(pool.superslabs == 0 && pool.warm_units == 0 && pool.used_units == 0);
    CHECK(mapped - fake_os.mapped_bytes == 3 * (size_t)HK_SUPERSLAB_BYTES);
    check_figures(&pool);
    CHECK(hk_pool_purge(&pool, 0, 0) == 0);
}

/* More superslabs than one batch. */
static void test_purge_many(void)
{
    enum { MANY = 50 };
    static hk_pool_t pool;
    hk_slab_t *slabs[MANY];
    uint64_t before = hk_superslab_count();
    for (int i = 0; i < MANY; i++)
        slabs[i] = acquire(&pool, UNITS);
    CHECK(pool.superslabs == MANY && hk_superslab_count() - before == MANY);
    size_t mapped = fake_os.mapped_bytes;
    for (int i = 0; i < MANY; i++)
        hk_pool_release(slabs[i], false);
    CHECK(hk_pool_purge(&pool, 5 * UNITS, 5) == (MANY - 5) * (size_t)UNITS * HK_UNIT_BYTES);
    CHECK(pool.superslabs == 5 && pool.warm_units == 5 * UNITS);
    CHECK(mapped - fake_os.mapped_bytes == (MANY - 5) * (size_t)HK_SUPERSLAB_BYTES);
    check_figures(&pool);
    hk_pool_destroy(&pool);
    CHECK(hk_superslab_count() == before);
}

static void maintain(hk_pool_t *pool, uint64_t now)
{
    size_t warm = pool->warm_units, left = HK_DECAY_STEP_BYTES;
    (void)hk_pool_maintain(pool, now, &left);
    CHECK((warm - pool->warm_units) * HK_UNIT_BYTES == HK_DECAY_STEP_BYTES - left);
}

static void test_maintain(void)
{
    static hk_pool_t pool;
    uint64_t now = FAKE_OS_CLOCK_START;
    hk_slab_t *rest[2];
    hk_slab_t *keep = acquire_two(&pool, 1, &rest[0]);
    hk_slab_t *other = acquire_two(&pool, 1, &rest[1]);
    hk_pool_release(rest[0], false);
    hk_pool_release(rest[1], false);
    CHECK(pool.warm_units == 60);
    maintain(&pool, now); /* an epoch ends in which there were none for a while */
    CHECK(pool.warm_units == 60);
    maintain(&pool, now + HK_DECAY_MS - 1); /* too early */
    CHECK(pool.warm_units == 60);

    /* The working set needs 20 of them in this epoch: those stay, and something at hand. */
    hk_slab_t *needed = acquire(&pool, 20);
    hk_pool_release(needed, false);
    CHECK(pool.epoch.low_water == 40);
    uint64_t purged = pool.purged_units;
    now += HK_DECAY_MS;
    maintain(&pool, now);
    CHECK(pool.purged_units > purged);
    CHECK(pool.warm_units <= 60 - (40 - HK_KEPT_UNITS));
    check_figures(&pool);

    /* Left alone it comes down to what the policy keeps, and no further. */
    for (int epoch = 0; epoch < 10; epoch++) {
        now += HK_DECAY_MS;
        maintain(&pool, now);
        check_figures(&pool);
    }
    CHECKF(pool.warm_units <= HK_KEPT_UNITS, " (%u)", pool.warm_units);
    CHECKF(pool.warm_units > 0, " (%u warm, low water %zu)", pool.warm_units, pool.epoch.low_water);
    CHECK(pool.superslabs == 2); /* they are in use */
    hk_pool_release(keep, false);
    hk_pool_release(other, false);
    uint64_t calls = fake_os.calls;
    maintain(&pool, now); /* the same moment: no system call */
    CHECK(fake_os.calls == calls);
    check_figures(&pool);
    hk_pool_destroy(&pool);
}

static void test_destroy(void)
{
    static hk_pool_t pool;
    enum { COUNT = 5 };
    char *bases[COUNT];
    hk_slab_t *rest[COUNT];
    size_t mapped = fake_os.mapped_bytes;
    uint64_t superslabs = hk_superslab_count();
    for (unsigned i = 0; i < COUNT; i++) { /* full ones, partial ones, an empty one */
        hk_slab_t *slab = acquire_two(&pool, i + 1, &rest[i]);
        bases[i] = slab->superslab->base;
        CHECK(hk_registry_find(bases[i]) == &slab->superslab->region);
        if (i == 4)
            hk_pool_release(slab, false);
    }
    for (unsigned i = 1; i < COUNT; i++)
        hk_pool_release(rest[i], false);
    check_figures(&pool);
    hk_pool_destroy(&pool);
    for (unsigned i = 0; i < COUNT; i++)
        CHECK(hk_registry_find(bases[i]) == NULL);
    CHECK(hk_superslab_count() == superslabs);
    size_t left = fake_os.mapped_bytes - mapped;
    CHECKF(left % (64 * KIB) == 0 && left < HK_SUPERSLAB_BYTES, " (%zu)", left); /* metadata */
}

static void test_no_memory(void)
{
    static hk_pool_t pool;
    hk_slab_t *slab = acquire(&pool, UNITS - 2);
    for (uint64_t n = 0;; n++) {
        size_t mapped = fake_os.mapped_bytes;
        uint64_t superslabs = hk_superslab_count();
        uint64_t failures = fake_os.failures;
        fake_os_fail_after(n);
        hk_slab_t *more = acquire(&pool, 3);
        hk_slab_t *fits = acquire(&pool, 1); /* wants no memory */
        fake_os_heal();
        CHECK(fits != NULL && fits->superslab == slab->superslab);
        hk_pool_release(fits, false);
        check_figures(&pool);
        if (more != NULL) {
            CHECK(fake_os.failures == failures);
            hk_pool_release(more, false);
            CHECK(n > 0 && pool.acquires[HK_STAGE_NEW] == 2);
            break;
        }
        CHECK(fake_os.failures > failures);
        CHECK(pool.superslabs == 1 && pool.acquires[HK_STAGE_NEW] == 1);
        CHECK(hk_superslab_count() == superslabs);
        /* What stays may be the allocator's own memory, of which it keeps some. */
        CHECK(fake_os.mapped_bytes - mapped < HK_SUPERSLAB_BYTES);
        CHECK(n < 10);
    }
    hk_pool_destroy(&pool);
}

/* The registry has no leaf for the new superslab, and gets none: what was mapped goes back. */
static void test_no_leaf(void)
{
    static hk_pool_t pool;
    hk_slab_t *slab = acquire(&pool, UNITS); /* the descriptor's memory is there next time */
    hk_pool_release(slab, false);
    CHECK(hk_pool_purge(&pool, 0, 0) > 0);
    size_t mapped = fake_os.mapped_bytes;
    fake_os.spread = 1;
    fake_os_fail_after(1);
    hk_slab_t *without = acquire(&pool, 1);
    fake_os_heal();
    if (without == NULL) { /* else the kernel did not take the hint */
        CHECK(fake_os.mapped_bytes == mapped && pool.superslabs == 0);
        CHECK(acquire(&pool, 1) != NULL);
        CHECK(fake_os.mapped_bytes - mapped == HK_SUPERSLAB_BYTES + 64 * KIB);
    }
    fake_os.spread = 0;
    check_figures(&pool);
    hk_pool_destroy(&pool);
}

/* Random acquires, releases and purges; every figure counted again each time. */
static void test_random(void)
{
    enum { SLOTS = 200, STEPS = 20000 };
    static hk_pool_t pool;
    hk_slab_t *slabs[SLOTS] = {0};
    size_t units[SLOTS] = {0};
    test_rng_t rng = test_rng(7);
    for (int step = 0; step < STEPS; step++) {
        size_t i = test_below(&rng, SLOTS);
        if (slabs[i] == NULL) {
            units[i] = 1 + test_below(&rng, test_below(&rng, 8) == 0 ? UNITS : 4);
            slabs[i] = acquire(&pool, (unsigned)units[i]);
            CHECK(slabs[i] != NULL);
            char *base = hk_slab_base(slabs[i]);
            for (size_t unit = 0; unit < units[i]; unit++)
                base[unit * HK_UNIT_BYTES] = (char)(i + 1);
            continue;
        }
        CHECK(slabs[i]->units == units[i]);
        char *base = hk_slab_base(slabs[i]);
        for (size_t unit = 0; unit < units[i]; unit++) {
            CHECK(base[unit * HK_UNIT_BYTES] == (char)(i + 1));
            CHECK(hk_slab_find(base + unit * HK_UNIT_BYTES) == slabs[i]);
        }
        hk_pool_release(slabs[i], false);
        slabs[i] = NULL;
        if (step % 64 == 0) {
            (void)hk_pool_purge(&pool, (uint32_t)test_below(&rng, 100),
                                (uint32_t)test_below(&rng, 3));
        }
        if (step % 16 == 0)
            check_figures(&pool);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        if (slabs[i] != NULL)
            hk_pool_release(slabs[i], false);
    }
    check_figures(&pool);
    (void)hk_pool_purge(&pool, 0, 0);
    CHECK(pool.superslabs == 0 && pool.used_units == 0);
}

int main(void)
{
    test_stages();
    test_whole_superslab();
    test_fullest_first();
    test_warm_before_full();
    test_fragments();
    test_units();
    test_purge();
    test_purge_many();
    test_destroy();
    test_no_memory();
    test_no_leaf();
    test_random();
    test_maintain();
    return 0;
}
