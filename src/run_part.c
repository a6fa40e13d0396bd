/*
 * run_part: see run_part.h.
 */
#include "run_part.h"

#include "os.h"
#include "policy.h"

/* What a thread's strain grows by when it finds the lock held, and when it had to sleep; a lock
 * found open takes one off.  At the most it moves on. */
enum { STRAIN_HELD = 3, STRAIN_SLEPT = 64, STRAIN_MAX = 128 };

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

/* Moves the thread to the part.  Whoever goes through the parts may miss one that comes into use
 * meanwhile. */
static void use_part(uint32_t part)
{
    uint32_t last =
        hk_load_relaxed(&hk_run_last_part); /* relaxed: a part is good as it is, empty */
    while (last < part && !hk_cas_acq_rel(&hk_run_last_part, &last, part)) {
    }
    own_part = part;
}

/* Locks the thread's part, whose lock was held. */
static HK_NOINLINE hk_runs_t *acquire_held(void)
{
    if (strain >= STRAIN_MAX) {
        strain = 0;
        use_part((hk_add_relaxed(&moves, 1) + 1) % most_parts()); /* relaxed: a turn, about */
    }
    hk_runs_t *part = &hk_runs[own_part];
    strain += STRAIN_HELD;
    strain += hk_lock_acquire(&part->lock, HK_RANK_RUNS) ? STRAIN_SLEPT : 0;
    return part;
}

hk_runs_t *hk_run_part_acquire(void)
{
    hk_runs_t *part = &hk_runs[own_part];
    if (HK_LIKELY(hk_lock_try_acquire(&part->lock, HK_RANK_RUNS))) {
        strain -= strain > 0;
        return part;
    }
    return acquire_held();
}
