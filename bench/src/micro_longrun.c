/*
 * micro_longrun: what days of service do to a heap, in seconds.  Memory is the result here, time
 * only beside it.  Extra figures in MiB: what the program itself holds, and what is resident with
 * it.
 */
#include "micro.h"

/* ---- fragmentation ---- */

enum { LIVE_MIB = 64, PHASES = 40, SLOTS = 1 << 20 };

/* Each phase prefers other sizes: 32 B to 8 KiB in the middle, a quarter of them anywhere. */
static size_t phase_size(uint32_t *seed, unsigned phase)
{
    uint32_t r = bench_next(seed);
    size_t centre = (size_t)32 << (phase * 5) % 9;
    if ((r & 3) == 0)
        centre = (size_t)32 << (r >> 2) % 9;
    return centre + (r >> 12) % centre;
}

struct heap {
    void **slot;
    uint32_t *size;
    uint32_t used; /* slots in use: 0 .. used-1 */
    size_t live_bytes;
    uint32_t seed;
};

static void heap_add(struct heap *h, unsigned phase)
{
    size_t size = phase_size(&h->seed, phase);
    char *p = get(size);
    memset(p + sizeof(void *), 1, size - sizeof(void *));
    h->slot[h->used] = p;
    h->size[h->used++] = (uint32_t)size;
    h->live_bytes += size;
}

static void heap_drop(struct heap *h, uint32_t at)
{
    put(h->slot[at]);
    h->live_bytes -= h->size[at];
    h->slot[at] = h->slot[--h->used];
    h->size[at] = h->size[h->used];
}

/* Blocks of this phase die young, 9 in 10; the rest join those that phases before left behind. */
static uint64_t heap_phase(struct heap *h, unsigned phase, size_t churn_bytes)
{
    uint64_t ops = 0;
    for (size_t bytes = 0; bytes < churn_bytes; ops++) {
        uint32_t young = h->used / 10 + 1, r = bench_next(&h->seed);
        uint32_t at = r % 10 ? h->used - 1 - (r >> 4) % young : (r >> 4) % h->used;
        bytes += h->size[at];
        heap_drop(h, at);
        while (h->live_bytes < (size_t)LIVE_MIB * MIB && h->used < SLOTS)
            heap_add(h, phase);
    }
    return ops;
}

/*
 * A cache or a broker over weeks: 64 MiB live all the time, but sizes and lives shift between
 * phases, and each phase leaves survivors among the blocks of the next.  live_mib and resident_mib
 * at the end.
 */
static uint64_t fragment(struct worker *w)
{
    size_t slot_bytes = SLOTS * sizeof(void *), size_bytes = SLOTS * sizeof(uint32_t);
    struct heap h = {bench_table(slot_bytes), bench_table(size_bytes), 0, 0, w->seed};
    uint64_t ops = 0;
    while (h.live_bytes < (size_t)LIVE_MIB * MIB)
        heap_add(&h, 0);
    for (unsigned phase = 1; phase <= PHASES; phase++)
        ops += heap_phase(&h, phase, (size_t)micro_scaled((size_t)LIVE_MIB * MIB));
    micro_note_live(w, h.live_bytes);
    while (h.used)
        heap_drop(&h, h.used - 1);
    bench_table_drop(h.slot, slot_bytes);
    bench_table_drop(h.size, size_bytes);
    return ops;
}

/* ---- spike and idle ---- */

enum { SPIKE_BLOCKS = 400000, TICKS = 300, TICK_OPS = 300, KEPT = 50 };

/* 200 MiB in blocks of a program's sizes. */
static void spike_rise(void **slot, uint32_t *seed)
{
    for (size_t i = 0; i < SPIKE_BLOCKS; i++) {
        size_t size = small_size(bench_next(seed)) * (i % 16 ? 1 : 16);
        slot[i] = get(size);
        bench_touch(slot[i], PAGE, size);
    }
}

/* Drops all but one block in KEPT, in random order; survivors end up in the first slots. */
static size_t spike_fall(void **slot, size_t n, uint32_t *seed)
{
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = bench_next(seed) % (i + 1);
        void *p = slot[i];
        slot[i] = slot[j];
        slot[j] = p;
    }
    for (size_t i = n / KEPT; i < n; i++)
        put(slot[i]);
    return n / KEPT;
}

/*
 * A service after its busiest minute: 200 MiB at once, one block in 50 stays, then 3 s of light
 * traffic.  One operation = one replacement in the light traffic, the pauses counted.  spike_mib,
 * and the resident size after the fall (fallen_mib) and at the end of the quiet time (idle_mib).
 */
static uint64_t spike(struct worker *w)
{
    void **slot = slot_table(SPIKE_BLOCKS);
    uint64_t ticks = micro_scaled(TICKS);
    spike_rise(slot, &w->seed);
    long high = bench_status_kib("VmRSS:");
    size_t left = spike_fall(slot, SPIKE_BLOCKS, &w->seed);
    long fallen = bench_status_kib("VmRSS:");
    for (uint64_t tick = 0; tick < ticks; tick++) {
        bench_sleep(0.01);
        for (int i = 0; i < TICK_OPS; i++)
            replace(&slot[bench_next(&w->seed) % left], small_size(bench_next(&w->seed)));
    }
    if (w->id == 0) {
        micro_note("spike_mib", (double)high / KIB);
        micro_note("fallen_mib", (double)fallen / KIB);
        micro_note("idle_mib", (double)bench_status_kib("VmRSS:") / KIB);
    }
    for (size_t i = 0; i < left; i++)
        put(slot[i]);
    bench_table_drop(slot, SPIKE_BLOCKS * sizeof *slot);
    return ticks * TICK_OPS;
}

/* ---- quiet after a fall ---- */

enum { QUIET_TICKS = 400 };

/*
 * A service whose load has gone altogether: 200 MiB are freed, and for 4 s a loop that waits for
 * something makes one call at a time, of a size that was used before.  One operation = one malloc
 * and free of the loop, the pauses counted.  fallen_mib, idle_mib as above.
 */
static uint64_t quiet(struct worker *w)
{
    void **slot = slot_table(SPIKE_BLOCKS);
    uint64_t ticks = micro_scaled(QUIET_TICKS);
    spike_rise(slot, &w->seed);
    drain(slot, SPIKE_BLOCKS);
    long fallen = bench_status_kib("VmRSS:");
    for (uint64_t tick = 0; tick < ticks; tick++) {
        bench_sleep(0.01);
        put(get(small_size(w->seed)));
    }
    if (w->id == 0) {
        micro_note("fallen_mib", (double)fallen / KIB);
        micro_note("idle_mib", (double)bench_status_kib("VmRSS:") / KIB);
    }
    return ticks;
}

/* ---- scratch memory beside results ---- */

enum { SMALL_BLOCKS = 300, RESULT_BLOCKS = SMALL_BLOCKS + 1 };

/* The result of a request, which stays: small blocks and a larger one. */
static void keep_result(void **slot, uint32_t *seed)
{
    for (int i = 0; i < SMALL_BLOCKS; i++)
        slot[i] = get(small_size(bench_next(seed)));
    slot[SMALL_BLOCKS] = get(100 * KIB);
    bench_touch(slot[SMALL_BLOCKS], PAGE, 100 * KIB);
}

/* A server, a converter: each request reads into a buffer, whose pages are all written, and leaves
 * a result behind once it is gone.  One operation = one block of a result. */
static uint64_t scratch_buffer(struct worker *w)
{
    uint64_t requests = micro_scaled(400);
    void **slot = slot_table(requests * RESULT_BLOCKS);
    for (uint64_t i = 0; i < requests; i++) {
        size_t size = size_between(bench_next(&w->seed), MIB, 8 * MIB);
        void *buffer = get(size);
        bench_touch(buffer, PAGE, size);
        put(buffer);
        keep_result(slot + i * RESULT_BLOCKS, &w->seed);
    }
    drain(slot, requests * RESULT_BLOCKS);
    return requests * RESULT_BLOCKS;
}

/* The same with a tree of 40,000 nodes in place of the buffer: a parser, a compiler.  One operation
 * = one block. */
static uint64_t scratch_nodes(struct worker *w)
{
    enum { NODES = 40000 };
    uint64_t requests = micro_scaled(200);
    void **slot = slot_table(requests * RESULT_BLOCKS);
    void **node = slot_table(NODES);
    for (uint64_t i = 0; i < requests; i++) {
        for (unsigned n = 0; n < NODES; n++)
            node[n] = get(small_size(bench_next(&w->seed)));
        for (unsigned n = 0; n < NODES; n++)
            put(node[n]);
        keep_result(slot + i * RESULT_BLOCKS, &w->seed);
    }
    bench_table_drop(node, NODES * sizeof *node);
    drain(slot, requests * RESULT_BLOCKS);
    return requests * (RESULT_BLOCKS + NODES);
}

/* ---- turning from some sizes to others ---- */

/* A pipeline of stages, in one process: a stage takes 48 MiB in large blocks, the next one in small
 * ones, and so on; one block in 16 outlives its stage.  Peak memory is the result. */
static uint64_t turn(struct worker *w)
{
    enum { STAGES = 8, STAGE_MIB = 48, STAY = 16, BLOCKS_MAX = 1 << 20 };
    uint64_t ops = 0, kept = 0;
    void **slot = slot_table(BLOCKS_MAX);
    for (unsigned stage = 0; stage < STAGES; stage++) {
        uint64_t used = kept;
        size_t most = (size_t)micro_scaled(STAGE_MIB * MIB);
        for (size_t bytes = 0, size; bytes < most && used < BLOCKS_MAX; bytes += size) {
            uint32_t r = bench_next(&w->seed);
            size = stage % 2 == 0 ? size_between(r, 64 * KIB, MIB) : small_size(r);
            slot[used] = get(size);
            bench_touch(slot[used++], PAGE, size);
        }
        ops += used - kept;
        uint64_t next = kept;
        for (uint64_t i = kept; i < used; i++) {
            if (i % STAY == 0)
                slot[next++] = slot[i];
            else
                put(slot[i]);
        }
        kept = next;
    }
    for (uint64_t i = 0; i < kept; i++)
        put(slot[i]);
    bench_table_drop(slot, BLOCKS_MAX * sizeof *slot);
    return ops;
}

const struct workload micro_longrun[] = {
    {"fragment", fragment, 1, 1,
     "weeks of a cache: 64 MiB live, sizes and lives shift; op = free + malloc", 0, 0, 0},
    {"spike", spike, 1, 1, "a service after its busiest minute: 200 MiB, then light traffic", 0, 0,
     0},
    {"quiet", quiet, 1, 1, "200 MiB are freed, then a loop calls malloc and free now and then", 0,
     0, 0},
    {"scratch_buffer", scratch_buffer, 1, 1,
     "requests: a buffer of 1..8 MiB comes and goes, results stay; op = block", 0, 0, 0},
    {"scratch_nodes", scratch_nodes, 1, 1,
     "requests: 40,000 nodes come and go, results stay; op = block", 0, 0, 0},
    {"turn", turn, 1, 1,
     "stages of 48 MiB, by turns of large and small blocks, 1 in 16 stays; op = malloc", 0, 0, 0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
