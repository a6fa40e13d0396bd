/*
 * gate: see gate.h.
 */
#include "gate.h"

#include <errno.h>
#include <signal.h>

#include "lock.h"

_Atomic uint32_t hk_gate_closed;
hk_busy_t hk_gate_strangers;

/* owner: how often this thread is between the prepare and the parent or child handler of fork: a
 * signal handler may fork in between. */
static HK_TLS uint8_t forking;

/* owner: how often this thread is inside as a stranger; how many of these entries the shared count
 * certainly has; and where on the stack the outermost entry was made. */
static HK_TLS uint32_t stranger_depth;
static HK_TLS uint32_t stranger_counted;
static HK_TLS uintptr_t stranger_frame;

static HK_COLD bool is_mine(uint32_t forks)
{
    return forks == forking;
}

/* The only thread that forks may pass its own gate; of two that fork at once neither may. */
HK_INLINE bool is_open(void)
{
    uint32_t forks = hk_load_seq_cst(&hk_gate_closed);
    return HK_LIKELY(forks == 0) || is_mine(forks);
}

/* Whether the frame of the outermost entry is gone although the thread has not left the gate.  A
 * call from inside, or from a signal handler that interrupted the inside, lies deeper on the stack,
 * or on another stack. */
static HK_COLD bool was_left(uintptr_t outermost, uintptr_t frame)
{
    int saved = errno;
    stack_t stack = {0};
    bool known = frame >= outermost && sigaltstack(NULL, &stack) == 0;
    errno = saved;
    if (!known || (stack.ss_flags & SS_ONSTACK) != 0) {
        return false;
    }
    hk_lock_check_none();
    return true;
}

/* Whether the thread is still inside as a stranger; if a handler has jumped out, puts the counts
 * right. */
static HK_COLD bool is_stranger_still(uintptr_t frame)
{
    if (!was_left(stranger_frame, frame)) {
        return true;
    }
    hk_sub_acq_rel(&hk_gate_strangers.depth, stranger_counted);
    stranger_counted = stranger_depth = 0;
    return false;
}

HK_INLINE bool is_stranger(uintptr_t frame)
{
    return HK_UNLIKELY(stranger_depth > 0) && is_stranger_still(frame);
}

HK_INLINE bool enter_from_outside(hk_busy_t *busy, uintptr_t frame)
{
    if (HK_UNLIKELY(!is_open())) {
        return false; /* never busy for a moment, which the forking thread might see: gate.h */
    }
    busy->frame = frame;
    (void)hk_exchange_seq_cst(&busy->depth, 1);
    if (HK_LIKELY(is_open())) {
        return true;
    }
    hk_store_release(&busy->depth, 0);
    return false;
}

static HK_COLD bool enter_again(hk_busy_t *busy, uintptr_t frame)
{
    if (was_left(busy->frame, frame)) {
        hk_store_release(&busy->depth, 0); /* at once: a fork may be waiting for it */
        return enter_from_outside(busy, frame);
    }
    uint32_t depth = hk_load_relaxed(&busy->depth); /* relaxed: only this thread writes it */
    (void)hk_exchange_seq_cst(&busy->depth, depth + 1);
    return true;
}

bool hk_gate_enter(hk_busy_t *busy)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    if (HK_UNLIKELY(hk_load_relaxed(&busy->depth) > 0)) { /* relaxed: only this thread writes it */
        return enter_again(busy, frame);
    }
    /* Puts the count right if it was left as a stranger, before it had this cache. */
    (void)is_stranger(frame);
    return enter_from_outside(busy, frame);
}

/* A handler may jump out between any two of these steps; the shared count must never lose another
 * thread's entry. */
static void count_stranger(uintptr_t frame)
{
    if (stranger_depth == 0) {
        stranger_frame = frame;
        hk_fence_signal();
    }
    stranger_depth++;
    hk_fence_signal();
    hk_add_seq_cst(&hk_gate_strangers.depth, 1);
    stranger_counted++;
}

void hk_gate_force_stranger(void)
{
    count_stranger((uintptr_t)__builtin_frame_address(0));
}

bool hk_gate_is_stranger(void)
{
    return is_stranger((uintptr_t)__builtin_frame_address(0));
}

bool hk_gate_enter_stranger(void)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    bool again = is_stranger(frame);
    if (HK_UNLIKELY(!again && !is_open())) {
        return false; /* as above */
    }
    count_stranger(frame);
    if (again || is_open()) {
        return true;
    }
    hk_gate_leave_stranger();
    return false;
}

void hk_gate_leave_stranger(void)
{
    stranger_counted--;
    hk_fence_signal();
    hk_sub_acq_rel(&hk_gate_strangers.depth, 1);
    stranger_depth--;
}

void hk_gate_close(void)
{
    forking++;
    hk_add_seq_cst(&hk_gate_closed, 1);
}

/* The child of a fork in a signal handler returns into the fork that the handler interrupted, and
 * has nothing to open there. */
void hk_gate_open(void)
{
    if (forking > 0) {
        forking--;
        hk_sub_seq_cst(&hk_gate_closed, 1); /* before the thread looks who left its cache behind */
    }
}

void hk_gate_reset(void)
{
    forking = 0;
    hk_store_seq_cst(&hk_gate_closed, 0);
    hk_store_seq_cst(&hk_gate_strangers.depth, stranger_depth);
}
