/*
 * What a fork by another thread is to HAKMEM: a thread that closes the gate, and opens it when it
 * is told to.  For tests that see src/ too.
 */
#ifndef HAKMEM_FORK_ELSEWHERE_H
#define HAKMEM_FORK_ELSEWHERE_H

#include "test.h"

#include "thread.h"

static _Atomic int fork_step; /* 1 the gate is closed, 2 it shall be opened, 3 it has been */

static void *fork_elsewhere(void *argument)
{
    hk_thread_fork_prepare();
    fork_step = 1;
    while (fork_step != 2) {
        (void)sched_yield();
    }
    hk_thread_fork_parent();
    fork_step = 3;
    return argument;
}

/* Returns once the gate is closed; who does not end the fork by fork_end sets fork_step and joins
 * the thread.  False if there is no memory for a thread. */
static inline bool fork_try_begin(pthread_t *forker)
{
    fork_step = 0;
    if (pthread_create(forker, NULL, fork_elsewhere, NULL) != 0)
        return false;
    while (fork_step != 1) {
        (void)sched_yield();
    }
    return true;
}

static inline pthread_t fork_begin(void)
{
    pthread_t forker;
    CHECK(fork_try_begin(&forker));
    return forker;
}

static inline void fork_end(pthread_t forker)
{
    fork_step = 2;
    test_join(forker);
}

#endif
