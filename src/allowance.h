/*
 * allowance: how much may be given back where the program may soon want it again.  It grows with
 * time, so that the page faults which it may cost are a small share of the time.
 *
 * Any thread may use an allowance at any time.  Its figures are hints: two threads at once may
 * count some milliseconds twice, or lose them.
 */
#ifndef HK_ALLOWANCE_H
#define HK_ALLOWANCE_H

#include "atomic.h"
#include "base.h"

typedef struct hk_allowance {
    _Atomic uint64_t at_ms; /* atomic: when bytes was true */
    _Atomic size_t bytes;   /* atomic */
} hk_allowance_t;

static inline void hk_allowance_start(hk_allowance_t *allowance, uint64_t now_ms)
{
    hk_store_relaxed(&allowance->at_ms, now_ms); /* relaxed, here and below: hints */
}

/* Brings it up to now, and returns it. */
static inline size_t hk_allowance_now(hk_allowance_t *allowance, uint64_t now_ms,
                                      size_t bytes_per_ms, size_t most)
{
    uint64_t before = hk_load_relaxed(&allowance->at_ms);
    uint64_t ms = hk_ms_since(before, now_ms);
    size_t bytes = hk_load_relaxed(&allowance->bytes) + (size_t)ms * bytes_per_ms;
    bytes = hk_least(bytes, most);
    hk_store_relaxed(&allowance->at_ms, now_ms);
    hk_store_relaxed(&allowance->bytes, bytes);
    return bytes;
}

static inline void hk_allowance_spend(hk_allowance_t *allowance, size_t bytes)
{
    size_t left = hk_load_relaxed(&allowance->bytes);
    hk_store_relaxed(&allowance->bytes, hk_above(left, bytes));
}

#endif
