/*
 * What stress_soak.c's threads hold and do to it: blocks of all sizes from the common heap and from
 * first-class heaps, with patterns in them and a shadow of the address space; and what is counted.
 * Memory may be refused only while `burst` is odd, and then with ENOMEM.
 */
#ifndef HAKMEM_SOAK_H
#define HAKMEM_SOAK_H

#include "hak_names.h"
#include "shadow.h"

enum { HELD = 1024 /* of one thread */ };

/* In memory that children share. */
#define COUNTERS(X)                                                                                \
    X(operations, "operations")                                                                    \
    X(handed_on, "handed on")                                                                      \
    X(thread_ends, "threads ended")                                                                \
    X(forks, "forks")                                                                              \
    X(checks, "whole-heap walks")                                                                  \
    X(trims, "trims")                                                                              \
    X(reports, "reports")                                                                          \
    X(bursts, "bursts")                                                                            \
    X(refused, "refused")                                                                          \
    X(rests, "rests")

typedef struct counters {
#define X(name, text) atomic_ullong name;
    COUNTERS(X)
#undef X
} counters_t;

/* Whose block it is shows in who has the pointer to this; it is a block itself. */
typedef struct block {
    unsigned char *start;
    size_t size;
    size_t usable;
    size_t alignment; /* as asked for, or 0: plain */
    uint64_t id;
    bool in_heap; /* of its holder's first-class heap */
    bool single;  /* does not go with its heap: it may be from the refuge, see docs/DESIGN.md */
} block_t;

typedef struct worker {
    test_rng_t rng;
    hak_heap_t *heap;
    unsigned max_bits; /* of the sizes, for now */
    size_t in_use;     /* of the places, for now */
    int late_rounds;   /* of the destructor, before it frees what is held */
    block_t *held[HELD];
} worker_t;

static counters_t *counted;
static atomic_size_t live_bytes;
static atomic_uint burst;
static atomic_uint forks_begun, forks_ended;
static uint64_t seed;
static unsigned depth; /* of forks */

static inline void count(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Whether a failure of what began at `before` may be for want of memory. */
static inline bool is_short(unsigned before)
{
    return before % 2 == 1 || burst != before;
}

/* An allocation that began at `before` has returned block: whether it was refused, and with a
 * reason. */
static inline bool refused(const void *block, unsigned before)
{
    if (block != NULL)
        return false;
    CHECKF(errno == ENOMEM, " (errno %d)", errno);
    CHECKF(is_short(before), " (without a reason: seed %llu, depth %u, %zu committed of %zu)",
           (unsigned long long)seed, depth, hak_limit_committed(), hak_limit_get(HAK_LIMIT_HARD));
    count(&counted->refused);
    return true;
}

/* What is compared around an allocation: whether a fork can have been under way. */
static inline unsigned look_at_forks(void)
{
    unsigned ended = forks_ended;
    unsigned begun = forks_begun;
    return begun == ended ? begun : ~begun;
}

static inline void adopt(block_t *block, void *start, size_t size, size_t alignment)
{
    CHECK(test_is_aligned(start, alignment > 16 ? alignment : 16));
    block->start = (unsigned char *)start;
    block->size = size;
    block->usable = t_usable_size(start);
    block->alignment = alignment;
    CHECK(block->usable >= size);
    shadow_mark(start, block->usable);
    test_fill(start, block->usable, block->id);
    atomic_fetch_add(&live_bytes, block->usable);
}

static inline void verify(const block_t *block)
{
    CHECK(t_usable_size(block->start) == block->usable);
    CHECK_PATTERN(block->start, block->usable, block->usable, block->id);
}

static inline void forget(const block_t *block)
{
    shadow_clear(block->start, block->usable);
    atomic_fetch_sub(&live_bytes, block->usable);
}

static inline void free_descriptor(block_t *block)
{
    shadow_clear(block, sizeof *block);
    t_free(block);
}

static inline void drop(block_t **place, test_rng_t *rng)
{
    block_t *block = *place;
    *place = NULL;
    verify(block);
    forget(block);
    /* What could not be shrunk for want of memory is not taken by its new size: docs/DESIGN.md. */
    bool sized = block->size >= block->usable / 2 && test_below(rng, 4) == 0;
    errno = 4711;
    if (!sized)
        t_free(block->start);
    else if (block->alignment == 0)
        t_free_sized(block->start, block->size);
    else
        t_free_aligned_sized(block->start, block->alignment, block->size);
    CHECK(errno == 4711);
    free_descriptor(block);
}

static inline void *allocate(hak_heap_t *heap, size_t size, size_t *alignment, test_rng_t *rng)
{
    switch (test_below(rng, 6)) {
    case 0: {
        void *start = heap != NULL ? t_heap_calloc(heap, 1, size) : t_calloc(1, size);
        CHECK(start == NULL || test_is_filled_with(start, 0, size));
        return start;
    }
    case 1:
        /* Up to 64 KiB: the refuge has no wide alignments (docs/adr/0002). */
        *alignment = (size_t)16 << test_below(rng, test_below(rng, 16) == 0 ? 13 : 9);
        return heap != NULL ? t_heap_aligned_alloc(heap, *alignment, size)
                            : t_aligned_alloc(*alignment, size);
    default: return heap != NULL ? t_heap_malloc(heap, size) : t_malloc(size);
    }
}

static inline void take(block_t **place, worker_t *worker)
{
    unsigned before = burst;
    block_t *block = (block_t *)t_malloc(sizeof *block);
    if (refused(block, before))
        return;
    shadow_mark(block, sizeof *block);
    test_rng_t *rng = &worker->rng;
    block->id = test_next(rng);
    block->in_heap = worker->heap != NULL && test_below(rng, 4) == 0;
    size_t size = test_log_size(rng, worker->max_bits), alignment = 0;
    before = burst;
    unsigned forks = look_at_forks();
    void *start = allocate(block->in_heap ? worker->heap : NULL, size, &alignment, rng);
    if (refused(start, before)) {
        free_descriptor(block);
        return;
    }
    adopt(block, start, size, alignment);
    block->single = forks != forks_begun;
    *place = block;
}

static inline void resize(block_t *block, worker_t *worker)
{
    block_t old = *block;
    test_rng_t *rng = &worker->rng;
    size_t size = test_below(rng, 2) == 0 ? old.size + test_below(rng, 1 + old.size / 2)
                                          : test_log_size(rng, worker->max_bits);
    size += size == 0;
    verify(block);
    forget(block);
    unsigned before = burst, forks = look_at_forks();
    void *start =
        old.in_heap ? t_heap_realloc(worker->heap, old.start, size) : t_realloc(old.start, size);
    if (refused(start, before)) {
        shadow_mark(old.start, old.usable);
        atomic_fetch_add(&live_bytes, old.usable);
        verify(block);
        return;
    }
    CHECK_PATTERN(start, size < old.usable ? size : old.usable, old.usable, old.id);
    adopt(block, start, size, 0);
    block->single |= forks != forks_begun;
}

/* ---- what a thread holds ---- */

static inline void drop_from(worker_t *worker, size_t first)
{
    for (size_t i = first; i < HELD; i++) {
        if (worker->held[i] != NULL)
            drop(&worker->held[i], &worker->rng);
    }
}

/* The heap goes whole, and all its blocks with it. */
static inline void destroy_heap(worker_t *worker)
{
    for (size_t i = 0; i < HELD; i++) {
        block_t *block = worker->held[i];
        if (block == NULL || !block->in_heap)
            continue;
        if (block->single) {
            drop(&worker->held[i], &worker->rng);
            continue;
        }
        verify(block);
        forget(block);
        free_descriptor(block);
        worker->held[i] = NULL;
    }
    hak_heap_destroy(worker->heap);
    worker->heap = NULL;
}

static inline void end_worker(worker_t *worker)
{
    drop_from(worker, test_below(&worker->rng, HELD)); /* the heap's others go with it */
    destroy_heap(worker);
    drop_from(worker, 0);
    shadow_clear(worker, sizeof *worker);
    t_free(worker);
}

/* Other sizes and another number of blocks, so that slabs fill up, empty and go back; at times some
 * rest. */
static inline void change_mood(worker_t *worker)
{
    static const unsigned char bits[] = {5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 18, 21, 23};
    test_rng_t *rng = &worker->rng;
    worker->max_bits = bits[test_below(rng, TEST_COUNT(bits))];
    worker->in_use = ((size_t)HELD >> (worker->max_bits > 16 ? 4 : 0)) >> test_below(rng, 6);
    drop_from(worker, worker->in_use);
    if (test_below(rng, 8) == 0)
        destroy_heap(worker);
    unsigned before = burst, forks = look_at_forks();
    if (worker->heap == NULL && test_below(rng, 4) == 0) {
        worker->heap = hak_heap_create();
        /* While a fork is under way there are no new heaps. */
        CHECK(worker->heap != NULL || forks != forks_begun || refused(worker->heap, before));
    }
    if (test_below(rng, 16) == 0)
        (void)usleep((useconds_t)test_below(rng, 300000));
}

static inline worker_t *make_worker(uint64_t number)
{
    unsigned before = burst;
    worker_t *worker = (worker_t *)t_calloc(1, sizeof *worker);
    if (refused(worker, before))
        return NULL;
    shadow_mark(worker, sizeof *worker);
    worker->rng = test_rng(number);
    return worker;
}

#endif
