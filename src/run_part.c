/*
 * run_part: see run_part.h.
 */
#include "run_part.h"

#include "os.h"
#include "policy.h"

/* A lock found held counts so much, one found open takes one off: above one in nine, it grows. */
enum { STRAIN_STEP = 3, STRAIN_MAX = 128 };

static HK_TLS uint32_t own_part; /* owner: the thread's, as the next */
static HK_TLS uint32_t strain;

static _Atomic uint32_t moves; /* atomic: threads that have moved */
static _Atomic uint32_t most;  /* atomic: how many parts there may be; 0: not asked yet */

static uint32_t most_parts(void)
{
    uint32_t parts = hk_load_relaxed(&most); /* relaxed: whoever asks first stores what all would */
    if (parts == 0) {
        parts = hk_policy_run_parts(hk_os_cpu_count());
        hk_store_relaxed(&most, parts);
    }
    return parts;
}

/* Whoever goes through the parts may miss one that comes into use meanwhile. */
static void use_part(uint32_t part)
{
    uint32_t last =
        hk_load_relaxed(&hk_run_last_part); /* relaxed: a part is good as it is, empty */
    while (last < part && !hk_cas_acq_rel(&hk_run_last_part, &last, part)) {
    }
    own_part = part;
}

static HK_NOINLINE void note_held(void)
{
    strain += STRAIN_STEP;
    if (strain >= STRAIN_MAX) {
        strain = 0;
        use_part((hk_add_relaxed(&moves, 1) + 1) % most_parts()); /* relaxed: a turn, about */
    }
}

hk_runs_t *hk_run_part_acquire(void)
{
    hk_runs_t *part = &hk_runs[own_part];
    if (HK_LIKELY(hk_lock_try_acquire(&part->lock, HK_RANK_RUNS))) {
        strain -= strain > 0;
        return part;
    }
    note_held();
    part = &hk_runs[own_part];
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    return part;
}
