/*
 * A signal handler that calls exit, wherever in malloc and free it comes: the process ends as it
 * would without HAKMEM, with the status given and no line; run with LD_PRELOAD=libhakmem.so.  Each
 * signal has a process of its own.
 *
 *     libc_signal_exit [seed [processes]]
 */
#include "test.h"

#include <signal.h>
#include <sys/time.h>

enum { SLOTS = 4096, STATUS = 42 };

static void *(*volatile v_malloc)(size_t) = malloc;
static void (*volatile v_free)(void *) = free;
static void *slots[SLOTS];

static void end_process(int number)
{
    (void)number;
    exit(STATUS);
}

/* kind: 0 fast paths mostly, 1 slow ones, 2 runs of pages and direct mappings too, 3 the largest
 * small blocks, which hardening takes long to fill and to clear. */
static _Noreturn void work(test_rng_t rng, unsigned kind)
{
    struct itimerval timer = {.it_value = {0, 1000 + (long)test_below(&rng, 4000)}};
    CHECK(signal(SIGALRM, end_process) != SIG_ERR);
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    for (;;) {
        void **slot = &slots[test_below(&rng, kind % 3 == 0 ? 64 : SLOTS)];
        v_free(*slot);
        size_t size = kind == 3   ? 60000
                      : kind == 2 ? 1 + test_log_size(&rng, 22)
                                  : 16 + test_below(&rng, 3000);
        *slot = v_malloc(size);
        CHECK(*slot != NULL);
        *(char *)*slot = 1;
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned processes = argc > 2 ? (unsigned)atoi(argv[2]) : 160;
    for (unsigned i = 0; i < processes; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
            work(test_rng(seed + i), i % 4);
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == STATUS, " (process %u: %x)", i, status);
    }
    return 0;
}
