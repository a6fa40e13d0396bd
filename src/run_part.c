/*
 * run_part: see run_part.h.
 */
#include "run_part.h"

#include "parts.h"

static HK_TLS uint8_t own_part; /* owner: the thread's, as the next; below HK_PARTS */
static HK_TLS uint32_t strain;

static _Atomic uint32_t moves; /* atomic: threads that have moved */

hk_runs_t *hk_run_part_acquire(void)
{
    if (HK_UNLIKELY(strain >= HK_STRAIN_MAX)) {
        strain = 0;
        /* relaxed: a turn, about */
        own_part = (uint8_t)((hk_add_relaxed(&moves, 1) + 1) % hk_parts_most());
        hk_parts_use(&hk_run_last_part, own_part);
    }
    hk_runs_t *part = &hk_runs[own_part];
    hk_lock_acquire_strained(&part->lock, HK_RANK_RUNS, &strain);
    return part;
}
