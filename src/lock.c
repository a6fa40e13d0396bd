/*
 * lock: see lock.h.
 */
#include "lock.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "log.h"
#include "os.h"

enum { SPINS_BEFORE_SLEEP = 64, STRAIN_HELD = 3, STRAIN_SLEPT = 64 };

/* owner: the ranks that this thread holds or waits for, a bit each.  A bit is set before its lock
 * is taken, so that a signal handler that comes in between never finds a held lock without its bit.
 * It is cleared after the sleeper was woken: if a handler jumps out in between, the sleeper stays
 * asleep, and the bit tells. */
static HK_TLS uint32_t held_ranks;

static _Atomic bool rejected; /* atomic: relaxed: the process is about to end for that */

/* Ends the process.  No signal may interrupt that: if a handler jumped out, others would wait for
 * the lock for ever. */
static HK_COLD _Noreturn void reject(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    hk_log_warning("a signal handler called malloc or free, or jumped out of them,",
                   "while they held a lock");
    /* A handler of SIGABRT that got here must not be called for ever. */
    if (hk_load_relaxed(&rejected)) {
        (void)signal(SIGABRT, SIG_DFL);
    }
    hk_store_relaxed(&rejected, true);
    abort();
}

bool hk_lock_holds_any(void)
{
    return held_ranks != 0;
}

void hk_lock_check_none(void)
{
    if (HK_UNLIKELY(hk_lock_holds_any())) {
        reject();
    }
}

/* Ranks only rise. */
static void check_rises(uint32_t held, hk_rank_t rank)
{
    if (HK_UNLIKELY(held >> rank != 0)) {
        reject();
    }
}

static void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* acquire: pairs with the release in hk_lock_release */
static bool try_state(hk_lock_t *lock)
{
    uint32_t open = 0;
    return hk_cas_acq_rel(&lock->state, &open, 1);
}

bool hk_lock_try_acquire(hk_lock_t *lock, hk_rank_t rank)
{
    uint32_t others = held_ranks;
    held_ranks = others | 1u << rank;
    if (!try_state(lock)) {
        held_ranks = others; /* no order of locks is at stake */
        return false;
    }
    check_rises(others, rank);
    return true;
}

/* Returns whether it slept. */
static HK_NOINLINE bool acquire_contended(hk_lock_t *lock)
{
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
        if (hk_load_relaxed(&lock->state) == 0 && try_state(lock)) {
            return false;
        }
        spin_pause();
    }
    bool slept = false;
    while (hk_exchange_acq_rel(&lock->state, 2) != 0) {
        hk_os_wait(&lock->state, 2);
        slept = true;
    }
    return slept;
}

bool hk_lock_acquire(hk_lock_t *lock, hk_rank_t rank)
{
    check_rises(held_ranks, rank);
    held_ranks |= 1u << rank;
    return HK_UNLIKELY(!try_state(lock)) && acquire_contended(lock);
}

void hk_lock_acquire_strained(hk_lock_t *lock, hk_rank_t rank, uint32_t *strain)
{
    if (HK_LIKELY(hk_lock_try_acquire(lock, rank))) {
        *strain -= *strain > 0;
    } else {
        *strain += STRAIN_HELD + (hk_lock_acquire(lock, rank) ? STRAIN_SLEPT : 0u);
    }
}

void hk_lock_release(hk_lock_t *lock, hk_rank_t rank)
{
    hk_assert(2, (held_ranks >> rank & 1u) != 0);
    if (HK_UNLIKELY(hk_exchange_acq_rel(&lock->state, 0) == 2)) { /* release: pairs with acquire */
        hk_os_wake(&lock->state);
    }
    held_ranks &= ~(1u << rank);
}
