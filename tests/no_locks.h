/*
 * Locks that lock nothing, for tests in which one thread jumps out of slow paths.  The test defines
 * what happens when a lock is taken, and after it was given back.
 */
#ifndef HAKMEM_NO_LOCKS_H
#define HAKMEM_NO_LOCKS_H

#include "lock.h"

static void note_taken(void);
static void note_given_back(void);

bool hk_lock_acquire(hk_lock_t *lock, hk_rank_t rank)
{
    (void)rank;
    note_taken();
    lock->state = 1;
    return false;
}

bool hk_lock_try_acquire(hk_lock_t *lock, hk_rank_t rank)
{
    hk_lock_acquire(lock, rank);
    return true;
}

void hk_lock_release(hk_lock_t *lock, hk_rank_t rank)
{
    (void)rank;
    lock->state = 0;
    note_given_back();
}

void hk_lock_acquire_strained(hk_lock_t *lock, hk_rank_t rank, uint32_t *strain)
{
    *strain = 0;
    hk_lock_acquire(lock, rank);
}

void hk_lock_check_none(void) {}

bool hk_lock_holds_any(void)
{
    return false;
}

#endif
