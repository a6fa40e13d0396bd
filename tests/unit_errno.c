/*
 * errno is kept even when the system refuses a call.  The system functions that are called here are
 * this file's own, so that they can refuse.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "gate.h"
#include "os.h"

enum { KEPT = E2BIG };

#if !TEST_SANITIZED /* a sanitizer calls them before the program does */
static int refuse(void)
{
    errno = EPERM;
    return -1;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    (void)now;
    return refuse();
}

int sched_yield(void)
{
    return refuse();
}

int sigaltstack(const stack_t *stack, stack_t *before)
{
    (void)stack;
    (void)before;
    return refuse();
}

pid_t getpid(void)
{
    return refuse();
}

#endif

static void check_kept(void)
{
    CHECKF(errno == KEPT, " (%d)", errno);
}

static void *shared;

static void *free_first(void *argument)
{
    errno = KEPT;
    hak_free(shared);
    check_kept();
    return argument;
}

int main(void)
{
    if (TEST_SANITIZED)
        return 77;
    errno = KEPT;
    shared = hak_malloc(100);
    check_kept();
    (void)hk_os_clock_ms();
    check_kept();
    hk_os_yield();
    check_kept();
    CHECK(!hk_os_is_main_thread());
    check_kept();
    hk_busy_t busy = {.depth = 1}; /* as if a handler had jumped out */
    CHECK(hk_gate_enter(&busy));
    check_kept();
    test_join(test_thread(free_first, NULL));
    return 0;
}
