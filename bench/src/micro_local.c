/*
 * micro_local: small blocks in threads that share nothing.  What most programs do most of the time:
 * temporaries, working sets of different sizes, phases that build and drop.
 */
#include "micro.h"

/*
 * The random mixed benchmark: a slot is filled or emptied at random, 16 to 1039 bytes, so half of
 * the slots are full.  With 256 slots everything fits in a thread's cache; with 8192 it does not.
 */
static uint64_t mixed(struct worker *w)
{
    uint64_t cycles = micro_scaled(10000000);
    uint32_t slots_n = (uint32_t)w->load->high;
    char **slots = (char **)slot_table(slots_n);
    for (uint64_t i = 0; i < cycles; i++) {
        uint32_t r = bench_next(&w->seed);
        char **slot = &slots[r % slots_n];
        if (*slot) {
            free(bench_keep(*slot));
            *slot = NULL;
        } else {
            *slot = bench_some(malloc(16 + (r & 0x3FF)));
            **slot = (char)r;
        }
    }
    drain((void **)slots, slots_n);
    return cycles;
}

/* A temporary of one size, as a parser's token or a callback's argument. */
static uint64_t pair(struct worker *w)
{
    uint64_t pairs = micro_scaled(50000000);
    for (uint64_t i = 0; i < pairs; i++) {
        char *p = bench_some(malloc(32));
        *p = (char)w->id;
        free(bench_keep(p));
    }
    return pairs;
}

/* A temporary of changing size, as a string that is built and printed. */
static uint64_t pair_mix(struct worker *w)
{
    uint64_t pairs = micro_scaled(25000000);
    for (uint64_t i = 0; i < pairs; i++) {
        char *p = bench_some(malloc(16 + (bench_next(&w->seed) & 0x3FF)));
        *p = (char)i;
        free(bench_keep(p));
    }
    return pairs;
}

/* The temporaries of a request, or of a function: a few of mixed sizes, up to buffers of 20 KiB,
 * freed in reverse; beside them nothing lives.  One operation = one block. */
static uint64_t requests(struct worker *w)
{
    enum { TEMPORARIES = 8, STRINGS = 4 };
    uint64_t count = micro_scaled(1000000);
    for (uint64_t i = 0; i < count; i++) {
        void *block[TEMPORARIES];
        for (int n = 0; n < TEMPORARIES; n++) {
            uint32_t r = bench_next(&w->seed);
            block[n] =
                get(n < STRINGS ? size_between(r, 100, 1000) : size_between(r, KIB, 20 * KIB));
        }
        for (int n = TEMPORARIES; n-- > 0;)
            put(block[n]);
    }
    return count * TEMPORARIES;
}

enum { BATCH = 100000, BATCH_ROUNDS = 40 };

/* Allocates a batch, then frees it in the order the table `order` gives. */
static uint64_t batch(struct worker *w, const uint32_t *order)
{
    uint64_t rounds = micro_scaled(BATCH_ROUNDS);
    void **blocks = slot_table(BATCH);
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < BATCH; i++)
            blocks[i] = get(small_size(bench_next(&w->seed)));
        for (uint32_t i = 0; i < BATCH; i++)
            put(blocks[order[i]]);
    }
    bench_table_drop(blocks, BATCH * sizeof *blocks);
    bench_table_drop((void *)(uintptr_t)order, BATCH * sizeof *order);
    return BATCH * rounds;
}

/* A request's or a compiler pass's blocks, dropped in the order they were made, as a queue does. */
static uint64_t batch_fifo(struct worker *w)
{
    uint32_t *order = bench_table(BATCH * sizeof *order);
    for (uint32_t i = 0; i < BATCH; i++)
        order[i] = i;
    return batch(w, order);
}

/* The same in reverse, as destructors and stacks do. */
static uint64_t batch_lifo(struct worker *w)
{
    uint32_t *order = bench_table(BATCH * sizeof *order);
    for (uint32_t i = 0; i < BATCH; i++)
        order[i] = BATCH - 1 - i;
    return batch(w, order);
}

/* The same in random order, as dropping a hash table does. */
static uint64_t batch_random(struct worker *w)
{
    uint32_t *order = bench_table(BATCH * sizeof *order);
    for (uint32_t i = 0; i < BATCH; i++) { /* shuffle while filling */
        uint32_t j = bench_next(&w->seed) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return batch(w, order);
}

/* A cache with random eviction; `high` entries live.  1 M entries: cold blocks, full pages. */
static uint64_t replace_among(struct worker *w)
{
    uint32_t live = (uint32_t)w->load->high;
    uint64_t rounds = micro_scaled(live < 1000000 ? 8000000 / (live / 50000 + 1) : 1500000);
    void **slots = slot_table(live);
    for (uint32_t i = 0; i < live; i++)
        replace(&slots[i], small_size(bench_next(&w->seed)));
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t r = bench_next(&w->seed);
        replace(&slots[r % live], small_size(bench_next(&w->seed)));
    }
    drain(slots, live);
    return live + rounds;
}

const struct workload micro_local[] = {
    {"mixed256", mixed, 1, 1, "small working set, 16..1039 B at random; op = malloc or free", 0,
     256, 0},
    {"mixed8192", mixed, 1, 1, "the same with more live blocks than a thread cache holds", 0, 8192,
     0},
    {"pair", pair, 1, 1, "a temporary of one size, 32 B; op = malloc + free", 0, 0, 0},
    {"pair_mix", pair_mix, 1, 1, "a temporary of changing size, 16..1039 B", 0, 0, 0},
    {"requests", requests, 1, 1,
     "a request's eight temporaries, 100 B to 20 KiB, freed in reverse; op = block", 0, 0, 0},
    {"batch_fifo", batch_fifo, 1, 1, "a phase that builds, then drops in order, as a queue", 0, 0,
     0},
    {"batch_lifo", batch_lifo, 1, 1, "a phase that builds, then drops in reverse, as a stack", 0, 0,
     0},
    {"batch_random", batch_random, 1, 1, "a phase that builds, then drops in random order", 0, 0,
     0},
    {"replace1k", replace_among, 1, 1, "a small cache with random eviction, 16..512 B", 0, 1000, 0},
    {"replace100k", replace_among, 1, 1, "the same with 100,000 entries", 0, 100000, 0},
    {"replace1m", replace_among, 1, 1, "a large cache: cold blocks, full pages", 0, 1000000, 0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
