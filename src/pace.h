/*
 * pace: how much a place of free memory gives back at a peak of the process, learnt from what
 * becomes of it.
 *
 * A place that has grown beyond its own peak gives the most.  One that has not gives way to others
 * that grow.  If it has grown again by the next peak of the process, when that has grown by as
 * much, the program most likely took anew what was given: it cost a page fault for each page, and
 * the process is as large as before.  So after such a gift the next one is half as large, and after
 * any other twice as large.
 *
 * Any thread may use a pace at any time.  Its figures are hints, and two threads at once may count
 * a gift twice or lose it.
 */
#ifndef HK_PACE_H
#define HK_PACE_H

#include "atomic.h"
#include "policy.h"

typedef struct hk_pace {
    size_t most;           /* const: of one gift */
    _Atomic size_t step;   /* atomic: of the next gift; 0: the most */
    _Atomic size_t given;  /* atomic: the last gift so far; 0: it has been judged */
    _Atomic size_t before; /* atomic: what was committed in the place before that */
    _Atomic size_t peak;   /* atomic: the most that was committed in it at a peak of the process; it
                              sinks while there is much less */
} hk_pace_t;

/* Judges the last gift, if it has not been. */
static inline void hk_pace_judge(hk_pace_t *pace, size_t committed_bytes)
{
    size_t given = hk_load_relaxed(&pace->given); /* relaxed, here and below: hints */
    size_t step = hk_load_relaxed(&pace->step);
    if (given == 0) {
        return;
    }
    bool in_vain = committed_bytes + given / 2 > hk_load_relaxed(&pace->before);
    step = step == 0 ? pace->most : step;
    step = in_vain ? step / 2 : step * 2;
    step = step < HK_PACE_BYTES_MIN ? (size_t)HK_PACE_BYTES_MIN : step;
    hk_store_relaxed(&pace->step, hk_least(step, pace->most));
    hk_store_relaxed(&pace->given, 0);
}

/* To be called at each peak of the process, with what is committed in the place.  Returns how much
 * it may give; *grown says whether it is the place itself that has grown. */
static inline size_t hk_pace_look(hk_pace_t *pace, size_t committed_bytes, bool *grown)
{
    hk_pace_judge(pace, committed_bytes);
    size_t peak = hk_load_relaxed(&pace->peak);
    *grown = committed_bytes > peak + HK_PEAK_STEP_BYTES / 2;
    if (*grown) {
        hk_store_relaxed(&pace->peak, committed_bytes);
    } else if (peak > committed_bytes + pace->most) {
        hk_store_relaxed(&pace->peak, peak - (peak - committed_bytes) / 2);
    }
    size_t step = hk_load_relaxed(&pace->step);
    return *grown || step == 0 ? pace->most : step;
}

/* The place, in which so much is committed, begins a gift; and it has given so much of it. */
static inline void hk_pace_begin(hk_pace_t *pace, size_t committed_bytes)
{
    hk_store_relaxed(&pace->before, committed_bytes);
    hk_store_relaxed(&pace->given, 0);
}

static inline void hk_pace_note(hk_pace_t *pace, size_t given_bytes)
{
    hk_store_relaxed(&pace->given, hk_load_relaxed(&pace->given) + given_bytes);
}

#endif
