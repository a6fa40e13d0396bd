/*
 * What HAKMEM says goes to a pipe that nobody reads: the program goes on, its signals are as they
 * were, and it ends as it would; run with LD_PRELOAD=libhakmem.so.
 */
#include "test.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

enum { STATUS = 7 };

static void *(*volatile v_malloc)(size_t) = malloc;
static void (*volatile v_free)(void *) = free;

static volatile sig_atomic_t caught;

static void note(int number)
{
    (void)number;
    caught++;
}

static void set_action(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
}

static bool is_blocked(void)
{
    sigset_t now;
    CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
    return sigismember(&now, SIGPIPE) == 1;
}

static bool is_pending(void)
{
    sigset_t now;
    CHECK(sigpending(&now) == 0);
    return sigismember(&now, SIGPIPE) == 1;
}

static void say_by_default(void)
{
    malloc_stats();
    _exit(is_blocked() || is_pending() ? 1 : STATUS);
}

static void say_with_handler(void)
{
    set_action(note);
    malloc_stats();
    if (caught > 0 || is_pending())
        _exit(1);
    (void)raise(SIGPIPE); /* the program's own still arrives */
    _exit(caught == 1 ? STATUS : 1);
}

static void say_while_blocked(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    (void)raise(SIGPIPE);
    malloc_stats();
    _exit(is_blocked() && is_pending() ? STATUS : 1);
}

static void free_twice(void)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    void *volatile block = v_malloc(100);
    v_free(block);
    v_free(block);
    _exit(1);
}

/* The same program again, since options are read when the library is loaded. */
static void restart(void)
{
    CHECK(setenv("HAKMEM_STATS", "1", 1) == 0);
    CHECK(setenv("HAKMEM_NONSENSE", "1", 1) == 0);
    execl("/proc/self/exe", "libc_broken_pipe", "end", (char *)NULL);
    _exit(1);
}

/* The status of a child whose standard error is a pipe without a reader. */
static int run_case(void (*body)(void))
{
    int ends[2];
    int status;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        set_action(SIG_DFL);
        close(ends[0]);
        if (dup2(ends[1], STDERR_FILENO) == STDERR_FILENO)
            body();
        _exit(1);
    }
    close(ends[0]);
    close(ends[1]);
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void check_exit(void (*body)(void))
{
    int status = run_case(body);
    CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == STATUS, " (0x%x)", (unsigned)status);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return STATUS; /* the option's line is behind it, the report to come */
    test_require_preload();
    check_exit(say_by_default);
    check_exit(say_with_handler);
    check_exit(say_while_blocked);
    check_exit(restart);
    int status = run_case(free_twice);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (0x%x)", (unsigned)status);
    return 0;
}
