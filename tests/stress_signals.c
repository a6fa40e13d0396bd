/*
 * Signals that land anywhere in malloc and free.
 *
 * First with a handler that does what handlers may: nothing must be different.  Then with one that
 * leaves by siglongjmp: what it interrupted is lost.  Each such run is a process of its own, with
 * two more threads that allocate and free each other's blocks; it goes on to its end, or ends with
 * the one line that says why; it never hangs, crashes, or gives a block twice.
 *
 *     stress_signals [seed [runs [jumps]]]
 */
#include "hak_names.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

enum { SLOTS = 512, SHARED = 256, HANG_SECONDS = 20, SIGNALS_LEAST = 100 };

typedef struct slot {
    char *volatile block;
    volatile size_t size;
    volatile uint64_t id;
} slot_t;

static slot_t slots[SLOTS]; /* of the thread that gets the signals */
static _Atomic(char *) shared[SHARED];
static _Atomic uint64_t signals;
static _Atomic uint64_t *jumps; /* in shared memory: a child's are counted after its end */
static _Atomic bool stop;
static _Atomic bool target_ended;
static pthread_t target;
static sigjmp_buf landing;
static volatile sig_atomic_t may_jump;
static uint64_t seed;

/* ---- The handlers ---- */

static void do_little(int number)
{
    int saved = errno;
    (void)number;
    signals++;
    errno = 0;
    (void)getpid();
    errno = saved;
}

static void jump_out(int number)
{
    (void)number;
    signals++;
    if (may_jump != 0) {
        may_jump = 0;
        siglongjmp(landing, 1);
    }
}

static void set_handler(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

/* Sends the target a signal every now and then. */
static void *shoot(void *argument)
{
    test_rng_t rng = test_rng(seed + (uint64_t)(uintptr_t)argument);
    while (!stop && !target_ended) {
        struct timespec pause = {0, 1000 + (long)test_below(&rng, 40000)};
        (void)nanosleep(&pause, NULL);
        (void)pthread_kill(target, SIGUSR1);
    }
    return NULL;
}

/* ---- The work ---- */

static size_t random_size(test_rng_t *rng)
{
    size_t what = test_below(rng, 256);
    return what == 0  ? 2 * MIB + test_below(rng, MIB)
           : what < 8 ? 70 * KIB + test_below(rng, 300 * KIB)
                      : test_log_size(rng, 11);
}

static void check_slot(const slot_t *slot)
{
    CHECKF(test_verify(slot->block, slot->size, slot->size, slot->id) == SIZE_MAX,
           " (seed %llu, %zu bytes)", (unsigned long long)seed, slot->size);
}

/* One operation.  While may_jump is set a handler may leave it: what the slot says is right at each
 * moment. */
static void step(slot_t *slot, test_rng_t *rng, bool jumps_allowed)
{
    size_t size = 1 + random_size(rng);
    char *old = slot->block;
    if (old == NULL) {
        may_jump = jumps_allowed;
        char *block = t_malloc(size);
        may_jump = 0;
        CHECK(block != NULL);
        uint64_t id = test_next(rng) | 1;
        test_fill(block, size, id);
        slot->size = size;
        slot->id = id;
        slot->block = block;
        return;
    }
    check_slot(slot);
    slot->block = NULL; /* the program has no use for it any more, whatever becomes of the free */
    if (test_below(rng, 4) == 0) {
        memset(old, 0x77, slot->size < 32 ? slot->size : 32);
        if (slot->size >= 32)
            old = atomic_exchange(&shared[test_below(rng, SHARED)], old);
    }
    may_jump = jumps_allowed;
    t_free(old);
    may_jump = 0;
}

static void *others_work(void *argument)
{
    test_rng_t rng = test_rng(seed + 77 + (uint64_t)(uintptr_t)argument);
    while (!stop) {
        char *block = t_malloc(32 + random_size(&rng));
        CHECK(block != NULL);
        memset(block, 0x77, 32);
        block = atomic_exchange(&shared[test_below(&rng, SHARED)], block);
        CHECK(block == NULL || test_is_filled_with(block, 0x77, 32));
        t_free(block);
    }
    return NULL;
}

/* ---- A handler that does what it may ---- */

static void *target_without_jumps(void *argument)
{
    test_rng_t rng = test_rng(seed);
    uint64_t steps = (uint64_t)(uintptr_t)argument;
    /* A busy machine may leave the shooter little time. */
    for (uint64_t i = 0; i < steps || signals < SIGNALS_LEAST; i++)
        step(&slots[test_below(&rng, SLOTS)], &rng, false);
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].block != NULL)
            step(&slots[i], &rng, false);
    target_ended = true;
    while (!stop)
        (void)sched_yield();
    return NULL;
}

static void run_threads(void *(*body)(void *), uint64_t argument)
{
    stop = target_ended = false;
    target = test_thread(body, (void *)(uintptr_t)argument);
    pthread_t others[2], shooter = test_thread(shoot, NULL);
    for (uintptr_t i = 0; i < TEST_COUNT(others); i++)
        others[i] = test_thread(others_work, (void *)i);
    while (!target_ended) {
        struct timespec pause = {0, 1000000};
        (void)nanosleep(&pause, NULL);
    }
    test_join(shooter); /* before its target ends */
    stop = true;
    test_join(target);
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        test_join(others[i]);
    for (size_t i = 0; i < SHARED; i++)
        t_free(atomic_exchange(&shared[i], NULL));
}

/* ---- A handler that jumps out ---- */

static test_rng_t jumping_rng; /* not on the stack: its value after a jump counts */

static void *target_with_jumps(void *argument)
{
    uint64_t wanted = (uint64_t)(uintptr_t)argument;
    jumping_rng = test_rng(seed);
    if (sigsetjmp(landing, 1) != 0)
        ++*jumps;
    while (*jumps < wanted)
        step(&slots[test_below(&jumping_rng, SLOTS)], &jumping_rng, true);
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].block != NULL)
            check_slot(&slots[i]);
    target_ended = true;
    while (!stop)
        (void)sched_yield();
    return NULL;
}

/* Whether the run got to its end; else it ended with the line. */
static bool run_jumping(uint64_t number, uint64_t wanted)
{
    int file = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(file >= 0);
    *jumps = 0;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(file, 2);
        alarm(HANG_SECONDS);
        seed += number;
        set_handler(jump_out);
        run_threads(target_with_jumps, wanted);
        (void)t_check();
        _exit(0);
    }
    int status = 0;
    static char said[4096];
    CHECK(waitpid(pid, &status, 0) == pid);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    CHECK(got >= 0 && close(file) == 0);
    said[got] = '\0';
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (run %llu: status 0x%x, '%s')",
           (unsigned long long)number, (unsigned)status, said);
    /* Once: no handler jumps out of the ending. */
    static const char line[] = "hakmem: a signal handler called malloc or free, or jumped out of "
                               "them, while they held a lock\n";
    CHECKF(strcmp(said, line) == 0, " ('%s')", said);
    return false;
}

int main(int argc, char **argv)
{
    seed = test_arg(argc, argv, 1, 5);
    uint64_t runs = test_arg(argc, argv, 2, 40);
    uint64_t wanted = test_arg(argc, argv, 3, 50);
    set_handler(do_little);
    run_threads(target_without_jumps, TEST_SANITIZED ? 50000 : 400000);
    CHECK(t_check() == 0);
    printf("a handler that returns: %llu signals\n", (unsigned long long)signals);
    if (TEST_SANITIZED)
        return 0; /* sanitizers do not survive such jumps themselves */
    uint64_t whole = 0, total = 0;
    jumps = mmap(NULL, sizeof *jumps, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(jumps != MAP_FAILED);
    for (uint64_t run = 0; run < runs; run++) {
        whole += run_jumping(run, wanted);
        total += *jumps;
    }
    printf("a handler that jumps out: %llu runs of up to %llu jumps, %llu in all; "
           "%llu runs to the end, %llu ended with the line\n",
           (unsigned long long)runs, (unsigned long long)wanted, (unsigned long long)total,
           (unsigned long long)whole, (unsigned long long)(runs - whole));
    return 0;
}
