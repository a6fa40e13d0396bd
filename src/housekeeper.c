/*
 * housekeeper: see housekeeper.h.
 */
#define _GNU_SOURCE
#include "housekeeper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "decay.h"
#include "gate.h"
#include "heap_hole.h"
#include "heaps.h"
#include "limit.h"
#include "log.h"
#include "options.h"
#include "os.h"
#include "policy.h"

enum {
    SLOW_PATHS_BEFORE = 16, /* a program that only starts another one does not get that far */
    STACK_BYTES = 256 * 1024,
    WAIT_MS = 4000, /* between two looks whether other threads are left, at most */
};

_Atomic uint32_t hk_housekeeper_countdown;

/* const once there is a thread */
static void (*chore)(void);

static _Atomic uint32_t running; /* atomic: 1 while there is a thread */

/* atomic: another number tells the thread that had the one before to end; it sleeps on this
 * word. */
static _Atomic uint32_t generation;

/* ---- Its work ---- */

/* Works on one heap, its holes too, a step at a time, and leaves the gate between steps, so that a
 * fork does not wait for long. */
static void keep_heap(hk_heap_t *heap, void *context)
{
    (void)context;
    bool more = true;
    while (more && hk_gate_enter_stranger()) {
        more = hk_heap_decay(heap, hk_os_clock_ms());
        more |= hk_heap_hole_purge(heap, HK_HOLE_STEP_SLABS) > 0;
        hk_gate_leave_stranger();
    }
}

/* Inside the gate.  *left is what the step may still give. */
static void keep_first_class(hk_heap_t *heap, void *context)
{
    size_t *left = context;
    (void)hk_pool_maintain(heap->pool, hk_os_clock_ms(), left);
}

static void keep_house(void)
{
    hk_heaps_each_thread_heap(keep_heap, NULL);
    size_t committed;
    do {
        committed = hk_limit_committed_bytes();
        if (hk_gate_enter_stranger()) {
            size_t left = HK_DECAY_STEP_BYTES;
            (void)hk_decay_step(NULL, hk_os_clock_ms(), &left);
            if (hk_pool_owned_are_warm()) {
                hk_heaps_each_first_class(keep_first_class, &left);
            }
            hk_gate_leave_stranger();
        }
    } while (hk_limit_committed_bytes() < committed);
}

/* The thread.  Its rounds come often while memory comes and goes, and seldom while nothing changes.
 * However long they take, it looks now and then whether a fork has left something to do, and
 * whether another thread is left: if not, or when it is told to, it ends, and the process ends as
 * it would without it. */
static void *run(void *argument)
{
    uint32_t mine = (uint32_t)(uintptr_t)argument;
    uint64_t period_ms = 0;
    uint64_t left_ms = 0; /* to the next round */
    size_t committed = 0;
    (void)pthread_setname_np(pthread_self(), "hakmem");
    while (hk_load_acquire(&generation) == mine && !hk_os_is_last_thread()) {
        if (chore != NULL) {
            chore();
        }
        if (left_ms == 0) {
            keep_house();
            size_t now_committed = hk_limit_committed_bytes();
            period_ms = hk_policy_house_ms(period_ms, hk_options.decay, now_committed != committed);
            committed = now_committed;
            left_ms = period_ms;
        }
        uint64_t wait_ms = hk_least(left_ms, WAIT_MS);
        hk_os_wait_ms(&generation, mine, wait_ms);
        left_ms -= wait_ms;
    }
    return NULL;
}

/* ---- Its life ---- */

void hk_housekeeper_set_chore(void (*function)(void))
{
    chore = function;
}

/* All signals are blocked while the thread is made, so that it starts with all of them blocked. */
static int create_thread(void)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    void *number = (void *)(uintptr_t)hk_load_relaxed(&generation); /* relaxed: ours to change */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    size_t usual = 0;
    (void)pthread_attr_getstacksize(&attributes, &usual);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int error = pthread_create(&thread, &attributes, run, number);
    if (error == EINVAL) { /* the thread's static TLS, which lies on its stack, does not fit */
        (void)pthread_attr_setstacksize(&attributes, usual);
        error = pthread_create(&thread, &attributes, run, number);
    }
    (void)pthread_attr_destroy(&attributes);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int hk_housekeeper_start(void)
{
    uint32_t none = 0;
    hk_store_relaxed(&hk_housekeeper_countdown, 0);
    if (!hk_cas_acq_rel(&running, &none, 1)) {
        return 0;
    }
    int saved = errno;
    int error = create_thread();
    if (error != 0) {
        hk_store_release(&running, 0);
    }
    errno = saved;
    return error;
}

void hk_housekeeper_stop(void)
{
    hk_store_relaxed(&hk_housekeeper_countdown, 0);
    hk_add_acq_rel(&generation, 1);
    hk_store_release(&running, 0);
    hk_os_wake(&generation);
}

void hk_housekeeper_want(void)
{
    hk_store_relaxed(&hk_housekeeper_countdown, SLOW_PATHS_BEFORE);
}

void hk_housekeeper_forget(void)
{
    if (hk_load_relaxed(&running) != 0) { /* relaxed: the child has one thread */
        hk_store_relaxed(&running, 0);
        hk_housekeeper_want();
    }
}

void hk_housekeeper_count_down(void)
{
    uint32_t left = hk_load_relaxed(&hk_housekeeper_countdown);
    while (left > 0 && !hk_cas_acq_rel(&hk_housekeeper_countdown, &left, left - 1)) {
    }
    if (left == 1 && hk_housekeeper_start() != 0) {
        hk_log_warning("the housekeeper thread could not be started:",
                       "memory goes back as without it");
    }
}
