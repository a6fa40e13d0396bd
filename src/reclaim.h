/*
 * reclaim: what is done when memory is short: at the end of it, at a limit, beyond the soft limit,
 * and when the program asks.
 *
 * The functions that take a cache are for callers inside the gate who hold no lock; the cache is
 * the caller's own, or NULL.
 */
#ifndef HK_RECLAIM_H
#define HK_RECLAIM_H

#include "limit.h"
#include "cache.h"

/* What the program wants to hear when the soft limit is exceeded: bytes committed, and the
 * limit. */
typedef void (*hk_reclaim_notify_t)(size_t committed_bytes, size_t limit_bytes);

/* Puts about limit blocks of each thread's heap back into their slabs. */
void hk_reclaim_heaps(size_t limit);

/* Frees all that can be freed now, of all threads' heaps and of the cache, and gives it back but
 * for keep_bytes.  Returns the bytes given back. */
size_t hk_reclaim_all(hk_cache_t *cache, size_t keep_bytes);

/* In a forked child: opens the lock under which that is done. */
void hk_reclaim_reset_lock(void);

/* Gives back the holes in all slabs of threads' heaps; returns the bytes.  No help for an
 * allocation that has failed: holes go on counting towards the limits, and their addresses stay
 * taken. */
size_t hk_reclaim_holes(void);

/* At a class's soft cap: reclaims a little, from this heap and a few others, raises the cap if that
 * was not enough, and returns true.  False if the class is not at its cap or the cap is strict. */
bool hk_reclaim_at_cap(hk_heap_t *heap, unsigned class_index);

/* Who is called; NULL for nobody. */
void hk_reclaim_set_notify(hk_reclaim_notify_t notify);

/* Reclaims, and calls the program if that was not enough.  From outside the gate. */
HK_COLD void hk_reclaim_under_pressure(void);

/* For slow paths that have committed memory, once they have left the gate. */
static inline void hk_reclaim_if_pressed(void)
{
    if (HK_UNLIKELY(hk_load_relaxed(&hk_limit_pressed) != 0)) { /* relaxed: a hint */
        hk_reclaim_under_pressure();
    }
}

#endif
