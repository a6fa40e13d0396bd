/*
 * Faults that are not HAKMEM's reach the handler that was there before, as the system would have
 * called it: with its mask, with SIGSEGV open if it asked for that, so it may jump out, and once
 * only if it asked for that.
 */
#include "test.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "fault.h"

static sigjmp_buf before_fault;
static int faults;
static volatile char *no_page;

static bool is_blocked(int number)
{
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    return sigismember(&mask, number) == 1;
}

static void on_fault(int number)
{
    CHECK(number == SIGSEGV && is_blocked(SIGUSR1) && !is_blocked(SIGSEGV));
    faults++;
    siglongjmp(before_fault, 0); /* the mask stays as it is here */
}

/* A process of its own: there is one handler to install. */
static void jumps_out(void)
{
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    CHECK(sigaddset(&action.sa_mask, SIGUSR1) == 0);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    hk_fault_start();
    volatile int rounds = 0;
    (void)sigsetjmp(before_fault, 0);
    if (rounds++ < 3)
        *no_page = 1;
    CHECK(faults == 3);
}

/* No handler, though one that takes three arguments was asked for. */
static TEST_UNUSED void by_default(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    hk_fault_start();
    for (int sent = 0; sent < 2; sent++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            struct rlimit none = {0, 0};
            (void)setrlimit(RLIMIT_CORE, &none);
            if (sent != 0)
                (void)raise(SIGSEGV);
            *no_page = 1;
            _exit(0);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, " (0x%x)", (unsigned)status);
    }
}

static void serve(int number)
{
    CHECK(number == SIGSEGV);
    if (++faults > 1)
        _exit(1);
}

/* A handler that serves once: the second fault ends the process. */
static TEST_UNUSED void serves_once(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        struct sigaction action = {.sa_handler = serve, .sa_flags = (int)SA_RESETHAND};
        (void)setrlimit(RLIMIT_CORE, &none);
        CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
        hk_fault_start();
        *no_page = 1;
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, " (0x%x)", (unsigned)status);
}

int main(int argc, char **argv)
{
    no_page = (char *)(uintptr_t)strtoul("64", NULL, 10); /* the compiler may not judge it */
    const test_case_t cases[] = {
        {"jumps_out", jumps_out, 0},
#ifndef __SANITIZE_THREAD__ /* whose runtime keeps a handler of its own, and never gives way */
        {"by_default", by_default, 0},
        {"serves_once", serves_once, 0},
#endif
    };
    return test_cases(argc, argv, cases, TEST_COUNT(cases), 60);
}
