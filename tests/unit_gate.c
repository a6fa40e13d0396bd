/*
 * The gate, and a signal handler that jumps out of a slow path: a fork that waits for the thread
 * goes on as soon as the thread comes back, although the thread is not let in.
 */
#include "test.h"

#include "gate.h"

static hk_busy_t busy;
static pthread_barrier_t barrier;

/* From deeper in the stack.  Who returns from here and has not left the gate is as a slow path that
 * was left by a jump: inside, and its frame is gone. */
static __attribute__((noinline)) void enter_deeper(void)
{
    volatile char frame[4096];
    frame[0] = 0;
    CHECK(hk_gate_enter(&busy));
    frame[4095] = frame[0];
}

static __attribute__((noinline)) void enter_deeper_as_stranger(void)
{
    volatile char frame[4096];
    frame[0] = 0;
    CHECK(hk_gate_enter_stranger());
    frame[4095] = frame[0];
}

/* And once more from inside. */
static __attribute__((noinline)) void enter_twice_as_stranger(void)
{
    CHECK(hk_gate_enter_stranger());
    enter_deeper_as_stranger();
    CHECK(hk_gate_strangers.depth == 2);
}

static __attribute__((noinline)) void enter_twice_deeper_as_stranger(void)
{
    volatile char frame[4096];
    frame[0] = 0;
    enter_twice_as_stranger();
    frame[4095] = frame[0];
}

/* The same without a cache: the count is all threads', and a fork would wait for it for ever. */
static void leave_as_stranger(void)
{
    enter_twice_deeper_as_stranger();
    CHECK(hk_gate_enter_stranger());
    CHECK(hk_gate_strangers.depth == 1);
    hk_gate_leave_stranger();
    CHECK(hk_gate_strangers.depth == 0);
    enter_deeper_as_stranger();
    CHECK(!hk_gate_is_stranger() && hk_gate_strangers.depth == 0);
    enter_deeper_as_stranger(); /* and then it has got a cache */
    CHECK(hk_gate_enter(&busy));
    CHECK(hk_gate_strangers.depth == 0);
    hk_gate_leave(&busy);
}

static void *forker(void *argument)
{
    hk_gate_close();
    (void)pthread_barrier_wait(&barrier); /* closed */
    (void)pthread_barrier_wait(&barrier); /* looked at */
    hk_gate_open();
    return argument;
}

/* A signal handler forks while fork is under way; its child comes back into that fork, and the
 * handlers that are still to run find nothing to open. */
static void fork_in_fork(void)
{
    hk_gate_close();
    hk_gate_close();                                    /* in the handler */
    CHECK(hk_gate_closed == 2 && hk_gate_enter(&busy)); /* both are its own */
    hk_gate_leave(&busy);
    hk_gate_open();
    CHECK(hk_gate_closed == 1);
    hk_gate_close();
    hk_gate_reset(); /* the child */
    hk_gate_open();
    CHECK(hk_gate_closed == 0 && hk_gate_enter(&busy));
    hk_gate_leave(&busy);
}

int main(void)
{
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    fork_in_fork();
    leave_as_stranger();
    enter_deeper();
    CHECK(busy.depth == 1);
    pthread_t thread = test_thread(forker, NULL);
    (void)pthread_barrier_wait(&barrier);
    CHECK(!hk_gate_enter(&busy));
    CHECK(busy.depth == 0);
    CHECK(!hk_gate_enter(&busy) && busy.depth == 0);
    (void)pthread_barrier_wait(&barrier);
    test_join(thread);
    CHECK(hk_gate_enter(&busy) && busy.depth == 1);
    enter_deeper();
    CHECK(busy.depth == 2);
    hk_gate_leave(&busy);
    hk_gate_leave(&busy);
    CHECK(busy.depth == 0);
    return 0;
}
