/*
 * peak: what is free goes back before the process grows beyond its peak.
 *
 * Below the peak, free memory that is resident costs nothing, and may serve again.  At the peak
 * each free page beside a new one is memory that the process need not have had.
 */
#ifndef HK_PEAK_H
#define HK_PEAK_H

#include "limit.h"
#include "policy.h"

/* atomic: the most that was ever committed, in steps; or may have been memory: hk_peak_settle. */
extern _Atomic size_t hk_peak_bytes;

/* Of each place of free memory: what is left of what it was to give at the last look. */
enum { HK_PLACES = 3 };
extern _Atomic size_t hk_peak_owed[HK_PLACES]; /* atomic: whoever gives it takes it off first */

/* Whether the process has grown beyond its peak: then free memory had better go first. */
static inline bool hk_peak_is_new(void)
{
    return hk_limit_committed_bytes() > /* relaxed: a hint */
           hk_load_relaxed(&hk_peak_bytes) + HK_PEAK_STEP_BYTES;
}

/* Whether anything is owed.  relaxed: a hint */
static inline bool hk_peak_is_owing(void)
{
    size_t owed = 0;
    for (unsigned place = 0; place < HK_PLACES; place++) {
        owed |= hk_load_relaxed(&hk_peak_owed[place]);
    }
    return owed != 0;
}

/* Whether hk_peak_give has something to do. */
static inline bool hk_peak_is_due(void)
{
    return hk_peak_is_new() || hk_peak_is_owing();
}

/* To be called at such a peak: gives back a part of what is free, if that is more than policy
 * allows for what is committed.  One call gives two portions, or as much as the process has grown
 * by if that is more; the next calls give the rest.  Inside the gate, with no lock held. */
void hk_peak_give(void);

/* What was committed may have been mostly untouched, or was refused by the system in the end: then
 * the peak is lowered to what can have been memory.  To be called now and then. */
void hk_peak_settle(void);

/* To be called before a block of the size is allocated.  If it will be a direct mapping that takes
 * the process beyond its peak, as much of what is free and resident goes, if it is much.  If it is
 * large for the process, free runs go that it will not lie in, as much as it takes anew; and if it
 * will be a run, as much of a kept mapping.  Inside the gate, with no lock held. */
void hk_peak_make_way(size_t size, bool is_run);

/* The same before a direct mapping gets `more` bytes, or is made for a block that grows, and will
 * then have `size`. */
void hk_peak_make_way_growing(size_t size, size_t more);

/* When the library is loaded. */
void hk_peak_start(uint64_t now_ms);

#endif
