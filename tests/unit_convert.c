/*
 * What a program has freed in one kind of blocks serves it for the other: free runs become
 * superslabs, and empty superslabs free runs, without the system.  What it uses again and again
 * stays what it is.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "convert.h"
#include "fake_os.h"
#include "lend.h"
#include "limit.h"
#include "meta.h"
#include "options.h"
#include "pool_part.h"
#include "run.h"
#include "stats_now.h"

enum {
    NODE_BYTES = 1000,
    RUN_BYTES = 1 << 20,
    TOTAL_BYTES = 48 << 20,
    NODES = TOTAL_BYTES / NODE_BYTES,
    RUNS = TOTAL_BYTES / RUN_BYTES,
    ROUNDS = 40,
};

static char *nodes[NODES];
static char *runs[RUNS];

static void take(char **blocks, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        blocks[i] = hak_malloc(size);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], size, i);
    }
}

/* Frees those whose number is not a multiple of stay, and checks the others. */
static void drop(char **blocks, size_t count, size_t size, size_t stay)
{
    for (size_t i = 0; i < count; i++) {
        CHECK_PATTERN(blocks[i], size, size, i);
        if (stay == 0 || i % stay != 0)
            hak_free(blocks[i]);
    }
}

/* Nothing is there, and nothing is known yet of what is needed. */
static void start(void)
{
    (void)hak_trim(0);
    test_use_up_apart(hak_malloc, hak_free);
    hk_runs[0].unneeded_bytes = 0;
    hk_pool_parts[0].unneeded_units = 0;
}

static uint64_t converted_now(void)
{
    return stats_now().converted_superslabs;
}

typedef struct kind {
    char **blocks;
    size_t count;
    size_t size;
} kind_t;

/* All that was free and resident in one kind is used for the other. */
static void test_shift(kind_t from, kind_t to)
{
    start();
    take(from.blocks, from.count, from.size);
    drop(from.blocks, from.count, from.size, 0);
    hak_stats_t before = stats_now();
    take(to.blocks, to.count, to.size);
    hak_stats_t now = stats_now();
    CHECK(now.converted_superslabs - before.converted_superslabs >
          TOTAL_BYTES / HK_SUPERSLAB_BYTES / 2);
    CHECKF(now.committed_bytes < before.committed_bytes + TOTAL_BYTES / 4, " (%llu, was %llu)",
           (unsigned long long)now.committed_bytes, (unsigned long long)before.committed_bytes);
    /* A new area may be larger than needed. */
    CHECK(to.size == RUN_BYTES || now.mapped_bytes < before.mapped_bytes + TOTAL_BYTES / 2);
    CHECK(now.run_warm_resident_bytes <= now.run_warm_bytes); /* lent ones are the slabs' */
    CHECK(hak_check() == 0);
    drop(to.blocks, to.count, to.size, 0);
    CHECK(hak_check() == 0);
}

/* One superslab, lent and given back in both ways: its live bits are clear, its pages counted
 * once. */
static void test_one(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    hk_loan_t loan;
    CHECK(!hk_lend_slot(&loan)); /* the slabs have not grown yet */
    size_t committed = hk_limit_committed_bytes() - hk_meta_bytes();
    size_t warm = hk_run_warm_bytes();
    size_t slot_bytes = HK_SUPERSLAB_BYTES; /* what of the slot is resident */
    for (int purge = 0; purge < 2; purge++) {
        hk_superslab_t *superslab =
            hk_superslab_allocate(hk_pool_parts, HK_UNIT_BYTES, HK_ORIGIN_ANY);
        CHECK(superslab != NULL && superslab->area != NULL);
        CHECK(test_is_filled_with(superslab->base, 0, HK_LIVE_BYTES));
        CHECK(hk_registry_find(superslab->base) == &superslab->region);
        CHECK(superslab->dirty_units == UINT32_MAX - 1 && !superslab->idle_dirty);
        CHECK(hk_run_warm_bytes() == warm - slot_bytes);
        committed -= slot_bytes;
        slot_bytes = HK_SUPERSLAB_BYTES - HK_IDLE_BYTES; /* the idle part has gone back */
        CHECK(hk_limit_committed_bytes() - hk_meta_bytes() == committed + slot_bytes);
        CHECK(hak_check() == 0);
        if (purge != 0)
            CHECK(hk_superslab_free(superslab) == HK_SLAB_UNITS_MAX);
        else
            hk_superslab_give_back(superslab);
        warm -= purge != 0 ? slot_bytes : HK_IDLE_BYTES;
        committed += purge != 0 ? 0 : slot_bytes;
        CHECK(hk_run_warm_bytes() == warm);
        CHECK(hk_limit_committed_bytes() - hk_meta_bytes() == committed);
        CHECK(hak_check() == 0);
    }
}

/* By turns, with blocks that stay.  In the end all goes back to the system. */
static void test_turns(void)
{
    start();
    size_t committed = hk_limit_committed_bytes();
    size_t mapped = fake_os.mapped_bytes - hk_meta_bytes();
    enum { TURNS = 6, STAY = 16 };
    static char *kept_nodes[TURNS][NODES], *kept_runs[TURNS][RUNS];
    for (int turn = 0; turn < TURNS; turn++) {
        take(kept_runs[turn], RUNS / 2, RUN_BYTES);
        drop(kept_runs[turn], RUNS / 2, RUN_BYTES, STAY);
        take(kept_nodes[turn], NODES / 2, NODE_BYTES);
        drop(kept_nodes[turn], NODES / 2, NODE_BYTES, STAY * 256); /* some superslabs get empty */
        CHECK(hak_check() == 0);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < NODES / 2; i += STAY * 256)
            hak_free(kept_nodes[turn][i]);
        for (size_t i = 0; i < RUNS / 2; i += STAY)
            hak_free(kept_runs[turn][i]);
    }
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
    CHECK(hk_run_mapped_bytes() == 0 && hk_superslab_count() == 0);
    CHECKF(hk_limit_committed_bytes() <= committed + 64 * KIB, " (%zu, was %zu)",
           hk_limit_committed_bytes(), committed);
    CHECK(fake_os.mapped_bytes - hk_meta_bytes() <= mapped + 64 * KIB);
}

/* A buffer that comes and goes while the slabs grow is not lent to them; nodes that come and go
 * while the runs grow do not become runs. */
static void test_in_use_again(void)
{
    static char *kept[ROUNDS][NODES / ROUNDS];
    start();
    uint64_t converted = converted_now();
    for (int i = 0; i < ROUNDS; i++) {
        char *buffer = hak_malloc(8 << 20);
        CHECK(buffer != NULL);
        hak_free(buffer);
        take(kept[i], NODES / ROUNDS, NODE_BYTES);
    }
    CHECK(converted_now() == converted);
    for (int i = 0; i < ROUNDS; i++)
        drop(kept[i], NODES / ROUNDS, NODE_BYTES, 0);
    start();
    converted = converted_now();
    for (int i = 0; i < RUNS; i++) {
        take(nodes, NODES / 4, NODE_BYTES);
        drop(nodes, NODES / 4, NODE_BYTES, 0);
        take(runs + i, 1, RUN_BYTES);
    }
    CHECK(converted_now() == converted);
    for (int i = 0; i < RUNS; i++)
        hak_free(runs[i]);
}

/* What becomes a superslab is not zero; calloc and the live bits must not rely on it. */
static void test_content(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    uint64_t converted = converted_now();
    for (size_t i = 0; i < NODES; i++) {
        nodes[i] = hak_calloc(1, NODE_BYTES);
        CHECK(nodes[i] != NULL && test_is_filled_with(nodes[i], 0, NODE_BYTES));
        test_fill(nodes[i], NODE_BYTES, i);
    }
    CHECK(converted_now() > converted);
    drop(nodes, NODES, NODE_BYTES, 0);
    start(); /* so that these are not lent */
    take(nodes, NODES, NODE_BYTES);
    drop(nodes, NODES, NODE_BYTES, 0);
    converted = converted_now();
    for (size_t i = 0; i < RUNS; i++) {
        runs[i] = hak_calloc(1, RUN_BYTES);
        CHECK(runs[i] != NULL && test_is_filled_with(runs[i], 0, RUN_BYTES));
    }
    CHECK(converted_now() > converted);
    for (size_t i = 0; i < RUNS; i++)
        hak_free(runs[i]);
}

static void use_nodes(void)
{
    take(nodes, NODES, NODE_BYTES);
    drop(nodes, NODES, NODE_BYTES, 0);
    (void)hak_trim(TOTAL_BYTES); /* out of depots and heaps, into the pool */
}

/* Superslabs stay what they are while slabs need them, and where there is no memory for the area's
 * descriptor. */
static void test_not_now(void)
{
    start();
    use_nodes();
    CHECK(!hk_convert_to_runs(hk_runs, RUN_BYTES)); /* the first question: counts from now on */
    use_nodes();
    CHECK(!hk_convert_to_runs(hk_runs, RUN_BYTES)); /* they were needed */
    size_t warm = hk_pool_part_warm_bytes();
    uint64_t superslabs = hk_superslab_count();
    fake_os_fail_after(0);
    CHECK(!hk_convert_to_runs(hk_runs, RUN_BYTES) && fake_os.failures > 0);
    fake_os_heal();
    CHECK(hk_pool_part_warm_bytes() == warm && hk_superslab_count() == superslabs);
    CHECK(hak_check() == 0);
    (void)hk_convert_to_runs(hk_runs, RUN_BYTES); /* those were away for a while */
    CHECK(hk_convert_to_runs(hk_runs, RUN_BYTES));
    CHECK(hk_pool_part_warm_bytes() < warm && hk_superslab_count() < superslabs);
    CHECK(hk_run_warm_bytes() >= RUN_BYTES);
    CHECK(hak_check() == 0);
}

/* A superslab of the pool, empty, with so many warm units. */
static hk_superslab_t *make_empty(hk_pool_t *pool, unsigned warm)
{
    hk_superslab_t *superslab = hk_superslab_allocate(pool, HK_UNIT_BYTES, HK_ORIGIN_SYSTEM);
    CHECK(superslab != NULL && superslab->area == NULL && superslab->dirty_units == 0);
    CHECK(hk_limit_charge((size_t)warm << HK_UNIT_SHIFT));
    superslab->dirty_units = hk_pool_mask(1, warm);
    hk_pool_put_back(pool, &superslab, 1);
    return superslab;
}

static size_t warm_bytes(unsigned superslabs)
{
    return (size_t)superslabs * HK_SLAB_UNITS_MAX << HK_UNIT_SHIFT;
}

/* Puts them back, and counts anew. */
static void put_back(hk_pool_t *pool, hk_superslab_t *const *taken, unsigned count)
{
    hk_pool_put_back(pool, taken, count);
    pool->unneeded_units = pool->warm_units;
}

/* How many of them lie side by side at most; that is the system's choice. */
static unsigned longest_row(hk_superslab_t *const *made, unsigned count)
{
    unsigned longest = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned row = 1;
        for (unsigned j = 0; j < count; j++) /* from the start again when one is found */
            if (made[j]->base == made[i]->base + (size_t)row * HK_SUPERSLAB_BYTES) {
                row++;
                j = UINT32_MAX;
            }
        longest = row > longest ? row : longest;
    }
    return longest;
}

/* Which superslabs of a pool may become runs, and how many. */
static void test_choice(void)
{
    enum { COUNT = 20 };
    static hk_pool_t pool;
    hk_superslab_t *taken[HK_POOL_UNNEEDED_MAX];
    hk_superslab_t *made[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        made[i] = make_empty(&pool, HK_SLAB_UNITS_MAX);
    CHECK(hk_pool_take_unneeded(&pool, RUN_BYTES, taken) == 0); /* nothing is known yet */
    /* As many as the block needs and some more, side by side. */
    unsigned count = hk_pool_take_unneeded(&pool, RUN_BYTES, taken);
    unsigned row = longest_row(made, COUNT);
    CHECKF(count == (row < 9 ? row : 9), " (%u of %u)", count, row);
    for (unsigned i = 1; i < count; i++)
        CHECK(taken[i]->base == taken[i - 1]->base + HK_SUPERSLAB_BYTES);
    CHECK(pool.superslabs == COUNT - count && pool.warm_units == (COUNT - count) * 31);
    put_back(&pool, taken, count);
    /* No more than what was not needed, which was three of them. */
    pool.unneeded_units = 3 * HK_SLAB_UNITS_MAX;
    count = hk_pool_take_unneeded(&pool, RUN_BYTES, taken);
    CHECKF(count <= 3, " (%u)", count);
    put_back(&pool, taken, count);
    /* A block for which no row suffices. */
    CHECK(hk_pool_take_unneeded(&pool, (size_t)(COUNT + 1) * HK_SUPERSLAB_BYTES, taken) == 0);
    /* None that is pinned, huge, or too little resident. */
    for (unsigned i = 0; i < COUNT; i++) {
        made[i]->pinned = i % 2 == 0;
        made[i]->huge = i % 2 == 1;
    }
    CHECK(hk_pool_take_unneeded(&pool, RUN_BYTES, taken) == 0);
    made[7]->huge = false;
    count = hk_pool_take_unneeded(&pool, RUN_BYTES, taken);
    CHECK(count == 1 && taken[0] == made[7]);
    put_back(&pool, taken, count);
    for (unsigned i = 0; i < COUNT; i++)
        made[i]->pinned = made[i]->huge = false;
    CHECK(hk_pool_purge(&pool, 0, 0) == warm_bytes(COUNT) && pool.superslabs == 0);
    for (int i = 0; i < 4; i++)
        (void)make_empty(&pool, 8);
    (void)hk_pool_take_unneeded(&pool, RUN_BYTES, taken);
    CHECK(hk_pool_take_unneeded(&pool, RUN_BYTES, taken) == 0);
    (void)hk_pool_purge(&pool, 0, 0);
    CHECK(pool.purged_units == COUNT * 31 + 4 * 8);
}

/* What is not counted as resident is not, even where the system had made it so. */
static void test_clean_units(void)
{
    start();
    hk_superslab_t *superslab = make_empty(hk_pool_parts, 24);
    char *idle = superslab->base + HK_LIVE_BYTES;
    char *clean = superslab->base + ((size_t)30 << HK_UNIT_SHIFT);
    *idle = *clean = 1;
    size_t warm = hk_run_warm_bytes();
    (void)hk_convert_to_runs(hk_runs, RUN_BYTES);
    CHECK(hk_convert_to_runs(hk_runs, RUN_BYTES));
    CHECK(hk_superslab_find(clean) == NULL && *idle == 0 && *clean == 0);
    CHECKF(hk_run_warm_bytes() - warm == 24 * HK_UNIT_BYTES + HK_LIVE_BYTES, " (%zu, %zu)",
           hk_run_warm_bytes(), warm);
    CHECK(hak_check() == 0);
    (void)hak_trim(0);
}

/* A lent superslab, in no pool yet, beside free runs that were not needed. */
static hk_superslab_t *borrow(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    hk_runs->unneeded_bytes = hk_runs->warm_bytes;
    hk_superslab_t *superslab = hk_superslab_allocate(hk_pool_parts, HK_UNIT_BYTES, HK_ORIGIN_ANY);
    CHECK(superslab != NULL && superslab->area != NULL);
    return superslab;
}

/* A slot of which the first units are not resident: the first slab lies behind them. */
static void test_warm_first(void)
{
    hk_superslab_t *superslab = borrow();
    uint32_t first_units = hk_pool_mask(1, 5);
    CHECK(hk_superslab_purge_units(superslab, first_units));
    superslab->dirty_units &= ~first_units;
    hk_limit_uncharge(5 * HK_UNIT_BYTES);
    const char *base = superslab->base;
    hk_superslab_give_back(superslab);
    CHECK(hak_check() == 0);
    hk_slab_t *slab = hk_pool_acquire(hk_pool_parts, NULL, 2, 0);
    CHECK(slab != NULL && slab->superslab->area != NULL);
    CHECK(slab->superslab->base == base ? slab->first_unit == 6 : slab->first_unit == 1);
    CHECK(slab->fresh == 0);
    hk_pool_release(slab, false);
    CHECK(hak_check() == 0);
}

/* Lent superslabs that are empty are their area's again when runs grow. */
static void test_end_of_loan(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    take(nodes, NODES, NODE_BYTES);
    drop(nodes, NODES, NODE_BYTES, 0);
    (void)hak_trim(TOTAL_BYTES);
    (void)hk_convert_to_runs(hk_runs, RUN_BYTES);
    size_t mapped = hk_run_mapped_bytes();
    size_t warm = hk_run_warm_bytes();
    CHECK(hk_convert_to_runs(hk_runs, RUN_BYTES));
    CHECK(hk_run_mapped_bytes() == mapped); /* no new area */
    CHECK(hk_run_warm_bytes() > warm);
    CHECK(hak_check() == 0);
}

/* First-class heaps borrow nothing. */
static void test_first_class(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    uint64_t converted = converted_now();
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    for (size_t i = 0; i < NODES / 4; i++)
        CHECK(hak_heap_malloc(heap, NODE_BYTES) != NULL);
    CHECK(converted_now() == converted);
    hak_heap_destroy(heap);
}

/* Not with hardening, and not where superslabs are asked to be huge. */
static void test_not_possible(void)
{
    start();
    take(runs, RUNS, RUN_BYTES);
    drop(runs, RUNS, RUN_BYTES, 0);
    uint64_t converted = converted_now();
    for (int i = 0; i < 2; i++) {
        uint64_t harden = hk_options.harden, huge = hk_options.huge;
        hk_options.harden = i == 0 ? 1 : harden;
        hk_options.huge = i == 1 ? 2 : huge;
        CHECK(!hk_lend_is_possible());
        hk_superslab_t *superslabs[3];
        for (int j = 0; j < 3; j++) {
            superslabs[j] = hk_superslab_allocate(hk_pool_parts, HK_UNIT_BYTES, HK_ORIGIN_ANY);
            CHECK(superslabs[j] != NULL && superslabs[j]->area == NULL);
        }
        for (int j = 0; j < 3; j++)
            (void)hk_superslab_free(superslabs[j]);
        CHECK(!hk_convert_to_runs(hk_runs, RUN_BYTES));
        hk_options.harden = harden;
        hk_options.huge = huge;
    }
    CHECK(hk_lend_is_possible() && converted_now() == converted);
}

/* Where the system takes no pages back, what has become something else counts as resident still. */
static void test_no_purge(void)
{
    hk_superslab_t *superslab = borrow();
    size_t committed = hk_limit_committed_bytes();
    uint64_t purged = stats_now().purged_bytes;
    fake_os_fail_after(0);
    CHECK(hk_superslab_free(superslab) == 0);
    CHECK(hk_limit_committed_bytes() == committed && stats_now().purged_bytes == purged);
    CHECK(hak_check() == 0);
    fake_os_heal();
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
    CHECK(hk_run_mapped_bytes() == 0 && hk_superslab_count() == 0);
}

/* Threads that turn from runs to nodes and back, not all at once, while the heaps are walked. */
enum { THREADS = 4, THREAD_TURNS = 8, THREAD_NODES = NODES / 4, THREAD_RUNS = RUNS / 4 };

static pthread_barrier_t turn_barrier;

static void *turn(void *argument)
{
    static char *all_nodes[THREADS][THREAD_NODES];
    static char *all_runs[THREADS][THREAD_RUNS];
    size_t number = *(const size_t *)argument;
    for (size_t i = 0; i < THREAD_TURNS; i++) {
        (void)pthread_barrier_wait(&turn_barrier);
        if (((i + number) / 2) % 2 == 0) {
            take(all_runs[number], THREAD_RUNS, RUN_BYTES);
            drop(all_runs[number], THREAD_RUNS, RUN_BYTES, 0);
        } else {
            take(all_nodes[number], THREAD_NODES, NODE_BYTES);
            drop(all_nodes[number], THREAD_NODES, NODE_BYTES, 0);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    start();
    uint64_t converted = converted_now();
    pthread_t threads[THREADS];
    size_t numbers[THREADS] = {0, 1, 2, 3};
    fake_os.main_thread = false; /* the threads end like others */
    CHECK(pthread_barrier_init(&turn_barrier, NULL, THREADS + 1) == 0);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(turn, &numbers[i]);
    for (size_t i = 0; i < THREAD_TURNS; i++) {
        (void)pthread_barrier_wait(&turn_barrier);
        CHECK(hak_check() == 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    CHECK(hak_check() == 0);
    CHECK(converted_now() > converted);
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
}

int main(void)
{
    CHECK(hk_lend_is_possible());
    test_one();
    test_shift((kind_t){runs, RUNS, RUN_BYTES}, (kind_t){nodes, NODES, NODE_BYTES});
    test_shift((kind_t){nodes, NODES, NODE_BYTES}, (kind_t){runs, RUNS, RUN_BYTES});
    test_in_use_again();
    test_content();
    test_turns();
    test_not_now();
    test_choice();
    test_clean_units();
    test_warm_first();
    test_end_of_loan();
    test_first_class();
    test_not_possible();
    test_no_purge();
    test_threads(); /* last: the C library keeps blocks of its threads */
    return 0;
}
