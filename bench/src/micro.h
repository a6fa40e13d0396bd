/*
 * micro: small workloads that spend nearly all their time in malloc and free.
 *
 * A workload runs in one or more workers, each a thread.  What its blocks hold is looked at: a
 * block that another wrote over, or that realloc lost, ends the run.  Workloads stand in one table
 * for each theme; all of them free what they made before they return, except where they say
 * otherwise.
 */
#ifndef MICRO_H
#define MICRO_H

#include "bench.h"

enum { MAX_THREADS = 32 };

struct workload;

/* Two cache lines each, as processors fetch them in pairs: threads write to their own all the
 * time. */
struct worker {
    _Alignas(128) unsigned id; /* 0 .. threads-1 */
    unsigned threads;          /* how many workers run this workload */
    uint32_t seed;
    const struct workload *load;
    uint64_t ops;
    double start, end;
};

struct workload {
    const char *name;
    uint64_t (*run)(struct worker *); /* returns how many operations it did */
    unsigned multiple_of;             /* the thread count must be a multiple of this */
    unsigned at_least;
    const char *example; /* what kind of program it stands for, and what one operation is */
    size_t low, high;    /* sizes, where the workload takes them from here */
    unsigned percent;    /* likewise */
};

/* The tables, each ended by an entry without a name. */
extern const struct workload micro_local[], micro_sizes[], micro_trace[], micro_graph[],
    micro_pass[], micro_threads[], micro_longrun[], micro_service[], micro_pause[];

/* n, times the scale that the command line gave; at least 1. */
uint64_t micro_scaled(uint64_t n);

/* One more figure for the line that is printed.  One thread at a time. */
void micro_note(const char *name, double value);

/* Notes live_mib, what the program itself holds, and resident_mib; by the first worker only. */
void micro_note_live(const struct worker *w, size_t live_bytes);

/* The workload's own tables hold so many bytes, all of them written; the peak is told without
 * them. */
void micro_own(size_t bytes);

/* Waits for all workers of this run. */
void micro_meet(void);

/* A block that holds its own address; put() sees whether somebody else wrote over it. */
static inline void *get(size_t size)
{
    void **p = bench_some(malloc(size));
    *p = p;
    return p;
}

static inline void put(void *p)
{
    if (*(void **)p != p)
        bench_die("a block was damaged");
    free(bench_keep(p));
}

static inline void replace(void **slot, size_t size)
{
    if (*slot)
        put(*slot);
    *slot = get(size);
}

static inline void drain(void **slots, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(slots[i]);
    bench_table_drop(slots, n * sizeof *slots);
}

static inline void **slot_table(size_t n)
{
    micro_own(n * sizeof(void *));
    return bench_table(n * sizeof(void *));
}

static inline size_t size_between(uint32_t r, size_t low, size_t high)
{
    return low + (r >> 4) % (high - low + 1);
}

static inline size_t small_size(uint32_t r)
{
    return size_between(r, 16, 512);
}

#endif
