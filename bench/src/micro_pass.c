/*
 * micro_pass: blocks that one thread makes and another frees.  Pipelines, message passing, work
 * sharing; the pattern that thread caches are worst at.
 */
#include "micro.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

/* ---- producer and consumer ---- */

enum { RING = 1024 };

static struct ring {
    _Alignas(64) atomic_uint head; /* written by the consumer */
    _Alignas(64) atomic_uint tail; /* written by the producer */
    void *block[RING];
} rings[MAX_THREADS / 2];

/* Even workers produce, odd ones consume what the worker before them made. */
static uint64_t prodcons(struct worker *w)
{
    uint64_t blocks = micro_scaled(2000000);
    struct ring *q = &rings[w->id / 2];
    bool producer = w->id % 2 == 0;
    for (unsigned i = 0; i < blocks; i++) {
        if (producer) {
            while (i - atomic_load_explicit(&q->head, memory_order_acquire) == RING)
                sched_yield();
            q->block[i % RING] = get(small_size(bench_next(&w->seed)));
            atomic_store_explicit(&q->tail, i + 1, memory_order_release);
        } else {
            while (atomic_load_explicit(&q->tail, memory_order_acquire) == i)
                sched_yield();
            put(q->block[i % RING]);
            atomic_store_explicit(&q->head, i + 1, memory_order_release);
        }
    }
    return producer ? blocks : 0; /* one operation = one block made, passed on and freed */
}

/* A buffer with something in each of its pages, as messages have. */
static void *get_message(size_t size)
{
    char *p = get(size);
    bench_touch(p, PAGE, size);
    return p;
}

/* ---- all to all, interleaved ---- */

enum { BOX = 64 };

/* boxes[from][to]: only worker `from` fills a slot, only worker `to` empties it. */
static _Atomic(void *) boxes[MAX_THREADS][MAX_THREADS][BOX];
static atomic_uint workers_done;

static void take(struct worker *w, unsigned from, unsigned slot)
{
    _Atomic(void *) *at = &boxes[from][w->id][slot];
    if (!atomic_load_explicit(at, memory_order_relaxed))
        return;
    put(atomic_exchange_explicit(at, NULL, memory_order_acquire));
}

static void take_all(struct worker *w)
{
    for (unsigned from = 0; from < w->threads; from++)
        for (unsigned slot = 0; slot < BOX; slot++)
            take(w, from, slot);
}

static void hand_over(struct worker *w, unsigned to, void *p)
{
    unsigned first = bench_next(&w->seed) % BOX;
    for (;;) {
        for (unsigned i = 0; i < BOX; i++) {
            _Atomic(void *) *at = &boxes[w->id][to][(first + i) % BOX];
            if (!atomic_load_explicit(at, memory_order_relaxed)) {
                atomic_store_explicit(at, p, memory_order_release);
                return;
            }
        }
        take_all(w); /* every slot is full: the receiver is behind */
        sched_yield();
    }
}

static void replace_message(void **slot, size_t size)
{
    if (*slot)
        put(*slot);
    *slot = get_message(size);
}

/* Operations for each size range: about the same time for each. */
static uint64_t range_blocks(const struct workload *load)
{
    return micro_scaled(load->high <= 2048 ? 1500000 : load->high <= 32768 ? 600000 : 300000);
}

/* Of the blocks each worker makes, `percent` in 100 are freed by another worker, while all
 * allocate. */
static uint64_t alltoall(struct worker *w)
{
    enum { LIVE = 500 };
    uint64_t blocks = range_blocks(w->load);
    void **own = slot_table(LIVE);
    for (uint64_t i = 0; i < blocks; i++) {
        uint32_t r = bench_next(&w->seed);
        size_t size = size_between(bench_next(&w->seed), w->load->low, w->load->high);
        unsigned other = (w->id + 1 + (r >> 20) % (w->threads - 1)) % w->threads;
        if (r % 100 < w->load->percent)
            hand_over(w, other, get_message(size));
        else
            replace_message(&own[(r >> 8) % LIVE], size);
        take(w, other, 2 * i % BOX);
        take(w, other, (2 * i + 1) % BOX);
    }
    drain(own, LIVE);
    atomic_fetch_add(&workers_done, 1);
    while (atomic_load(&workers_done) < w->threads) {
        take_all(w);
        sched_yield();
    }
    take_all(w);
    return blocks;
}

/* ---- all to all, in phases ---- */

enum { PHASE = 3000 };

static void *made[MAX_THREADS][PHASE];

/*
 * Bulk-synchronous programs: all allocate, all wait, all free, all wait.  Of the blocks a worker
 * made, `percent` in 100 are freed by the next worker, the rest by itself.
 */
static uint64_t phased(struct worker *w)
{
    uint64_t phases = range_blocks(w->load) / PHASE + 1;
    void **before = made[(w->id + w->threads - 1) % w->threads];
    for (uint64_t phase = 0; phase < phases; phase++) {
        for (unsigned i = 0; i < PHASE; i++)
            made[w->id][i] =
                get_message(size_between(bench_next(&w->seed), w->load->low, w->load->high));
        micro_meet();
        for (unsigned i = 0; i < PHASE; i++)
            put(i * 37 % 100 < w->load->percent ? before[i] : made[w->id][i]);
        micro_meet();
    }
    return phases * PHASE;
}

#define RANGES(kind, run, percent, text)                                                           \
    {#kind #percent "_2k", run, 1, 2, text ", 16..2048 B", 16, 2048, percent},                     \
        {#kind #percent "_32k", run, 1, 2, text ", 16..32768 B", 16, 32768, percent},              \
    {                                                                                              \
#kind #percent "_64k", run, 1, 2, text ", 4097..65536 B", 4097, 65536, percent             \
    }

const struct workload micro_pass[] = {
    {"prodcons", prodcons, 2, 2, "pipeline: one thread of a pair allocates, the other frees", 0, 0,
     0},
    RANGES(alltoall, alltoall, 0, "threads with buffers of their own"),
    RANGES(alltoall, alltoall, 50, "work sharing: half of the blocks freed by another thread"),
    RANGES(alltoall, alltoall, 90, "message passing: 90 % of the blocks freed by another thread"),
    RANGES(phased, phased, 0, "all allocate, then all free their own"),
    RANGES(phased, phased, 50, "all allocate, then all free, half of it a neighbour's"),
    RANGES(phased, phased, 90, "all allocate, then all free, 90 % of it a neighbour's"),
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
