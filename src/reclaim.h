/*
 * reclaim: what is done when memory is short: when the system has none, at a limit, above the soft
 * limit, and when the program asks.
 *
 * Functions that take a cache are for callers inside the gate that hold no lock; the cache is the
 * calling thread's own, or NULL.
 */
#ifndef HK_RECLAIM_H
#define HK_RECLAIM_H

#include "limit.h"
#include "cache.h"

/* The program's callback for when the soft limit is exceeded: bytes committed, and the limit. */
typedef void (*hk_reclaim_notify_t)(size_t committed_bytes, size_t limit_bytes);

/* Puts about limit blocks of the depots of each thread's heap back into their slabs. */
void hk_reclaim_heaps(size_t limit);

/* Gives back all that can be given back now, of all threads' heaps and of the cache, except
 * keep_bytes.  Returns the bytes given back. */
size_t hk_reclaim_all(hk_cache_t *cache, size_t keep_bytes);

/* In a forked child: opens the lock that hk_reclaim_all takes. */
void hk_reclaim_reset_lock(void);

/* Gives back the holes in all slabs of threads' heaps; returns the bytes.  This is no help for an
 * allocation that has failed: holes go on counting towards the limits, and their addresses stay in
 * use. */
size_t hk_reclaim_holes(void);

/* For a class at its soft cap: reclaims a little, from this heap and a few others, raises the cap
 * if that was not enough, and returns true.  False if the class is not at its cap, or caps are
 * strict. */
bool hk_reclaim_at_cap(hk_heap_t *heap, unsigned class_index);

/* Sets the program's callback; NULL for none. */
void hk_reclaim_set_notify(hk_reclaim_notify_t notify);

/* Reclaims, and calls the program's callback if that was not enough.  To be called outside the
 * gate. */
HK_COLD void hk_reclaim_under_pressure(void);

/* For slow paths that have committed memory, once they have left the gate. */
static inline void hk_reclaim_if_pressed(void)
{
    if (HK_UNLIKELY(hk_load_relaxed(&hk_limit_pressed) != 0)) { /* relaxed: a hint */
        hk_reclaim_under_pressure();
    }
}

#endif
