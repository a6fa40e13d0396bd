/*
 * A thread that waits for a lock again and again, until it takes what it wants from elsewhere.
 */
#ifndef HAKMEM_HOLD_UP_H
#define HAKMEM_HOLD_UP_H

#include "test.h"

#include "lock.h"

enum { TURNS = 64 };

static struct {
    bool (*take)(void *argument); /* true: from elsewhere */
    void *argument;
    _Atomic int turn; /* odd: the other thread's; 2 * TURNS: it has ended */
    int taken;
} held_up;

static void *be_held_up(void *unused)
{
    bool elsewhere = false;
    for (int i = 0; i < TURNS && !elsewhere; i++) {
        while (held_up.turn != 2 * i + 1) {
        }
        elsewhere = held_up.take(held_up.argument);
        held_up.taken = i + 1;
        held_up.turn = elsewhere ? 2 * TURNS : 2 * i + 2;
    }
    return unused;
}

/* Lets another thread take, each time with the lock held until the thread sleeps before it (the
 * lock says 2 then) or has taken.  Ends when it has taken from elsewhere, at most TURNS times;
 * returns how often it took. */
static inline int hold_up(hk_lock_t *lock, hk_rank_t rank, bool (*take)(void *argument),
                          void *argument)
{
    held_up.take = take;
    held_up.argument = argument;
    held_up.turn = 0;
    pthread_t other = test_thread(be_held_up, NULL);
    for (int i = 0; i < TURNS && held_up.turn == 2 * i; i++) {
        hk_lock_acquire(lock, rank);
        held_up.turn = 2 * i + 1;
        while (lock->state != 2 && held_up.turn == 2 * i + 1) {
        }
        hk_lock_release(lock, rank);
        while (held_up.turn == 2 * i + 1) {
        }
    }
    test_join(other);
    return held_up.taken;
}

#endif
