/*
 * lock: see lock.h.
 */
#include "lock.h"

#include "log.h"
#include "os.h"

enum { SPINS_BEFORE_SLEEP = 64 };

/* owner: the ranks this thread holds, a bit each; kept in debug builds only. */
static HK_TLS uint32_t held_ranks;

static void note_acquired(hk_rank_t rank)
{
    if (HK_DEBUG >= 2) {
        hk_assert(2, (held_ranks >> rank) == 0); /* ranks only rise */
        held_ranks |= 1u << rank;
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

bool hk_lock_try_acquire(hk_lock_t *lock, hk_rank_t rank)
{
    uint32_t open = 0;
    if (!hk_cas_acq_rel(&lock->state, &open, 1)) { /* acquire: pairs with the release below */
        return false;
    }
    note_acquired(rank);
    return true;
}

static HK_NOINLINE void acquire_contended(hk_lock_t *lock)
{
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
        uint32_t open = 0;
        if (hk_load_relaxed(&lock->state) == 0 && hk_cas_acq_rel(&lock->state, &open, 1)) {
            return;
        }
        spin_pause();
    }
    while (hk_exchange_acq_rel(&lock->state, 2) != 0) {
        hk_os_wait(&lock->state, 2);
    }
}

void hk_lock_acquire(hk_lock_t *lock, hk_rank_t rank)
{
    uint32_t open = 0;
    if (HK_UNLIKELY(!hk_cas_acq_rel(&lock->state, &open, 1))) {
        acquire_contended(lock);
    }
    note_acquired(rank);
}

void hk_lock_release(hk_lock_t *lock, hk_rank_t rank)
{
    if (HK_DEBUG >= 2) {
        hk_assert(2, (held_ranks >> rank & 1u) != 0);
        held_ranks &= ~(1u << rank);
    }
    if (HK_UNLIKELY(hk_exchange_acq_rel(&lock->state, 0) == 2)) { /* release: pairs with acquire */
        hk_os_wake(&lock->state);
    }
}
