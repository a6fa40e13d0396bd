/*
 * lock: a mutex of four bytes on a futex, with a rank.
 *
 * All-zero is an open lock.  A thread takes locks only in rising rank, and keeps the ranks that it
 * holds in its TLS.  A thread that breaks this rule is in a signal handler that interrupted a slow
 * path, or its handler has jumped out of one.  Then the process ends with a line, since waiting
 * would never end.  The forking thread holds no lock across fork (see gate.h), so nothing that a
 * lock protects has to be mended in the child.
 */
#ifndef HK_LOCK_H
#define HK_LOCK_H

#include "atomic.h"
#include "base.h"

/* The lock table: each rank, and what its locks protect.  The bottom of the list is taken last.
 * There is a HEAP, POOL or RUNS lock for each heap, pool or part.  LARGE and GUARD are two locks
 * each, named in brackets, of which a thread holds at most one. */
#define HK_LOCK_TABLE(X)                                                                           \
    X(RECLAIM, "nothing: one thread at a time gives back all it can")                              \
    X(CACHES, "the list of thread caches, the list of heaps, which heap a new thread gets")        \
    X(HEAP, "a heap: its slabs, depots; a first-class one's large blocks and quarantine")          \
    X(POOL, "a pool: its superslabs and their free units; the epoch of all parts together")        \
    X(RUNS, "runs of pages: a part's areas and free runs")                                         \
    X(LARGE, "direct mappings: kept and in use (large), sealed (retired)")                         \
    X(GUARD, "the slots of sampled blocks (guard), the blocks of no bytes (nothing)")              \
    X(META, "the allocator's own memory")

typedef enum hk_rank {
#define X(name, protects) HK_RANK_##name,
    HK_LOCK_TABLE(X)
#undef X
} hk_rank_t;

typedef struct hk_lock {
    _Atomic uint32_t state; /* 0 open, 1 held, 2 held and somebody sleeps */
} hk_lock_t;

/* Takes the lock.  Returns whether the thread slept for it: then the holder took long, or had no
 * processor. */
bool hk_lock_acquire(hk_lock_t *lock, hk_rank_t rank);
bool hk_lock_try_acquire(hk_lock_t *lock, hk_rank_t rank);
void hk_lock_release(hk_lock_t *lock, hk_rank_t rank);

/* Takes the lock of one of several places that would do.  *strain grows when the lock was held,
 * and more if the thread had to sleep; it falls when the lock was open.  From HK_STRAIN_MAX on the
 * caller had better take another place, and begin with no strain there: then for some time more
 * than a quarter of the takings found the lock held, or more than one in 68 slept. */
enum { HK_STRAIN_MAX = 128 };
void hk_lock_acquire_strained(hk_lock_t *lock, hk_rank_t rank, uint32_t *strain);

/* Ends the process with a line if the calling thread holds any lock. */
void hk_lock_check_none(void);

/* Whether the thread holds a lock, or waits for one: then it is in a signal handler that came in
 * between. */
bool hk_lock_holds_any(void);

/* For assertions: whether somebody holds the lock. */
static inline bool hk_lock_is_held(const hk_lock_t *lock)
{
    return hk_load_relaxed(&lock->state) != 0; /* relaxed: a hint for asserts, orders nothing */
}

/* In a forked child: opens a lock whose holder did not come along. */
static inline void hk_lock_reset(hk_lock_t *lock)
{
    hk_store_relaxed(&lock->state, 0); /* relaxed: the child has one thread */
}

#endif
