/*
 * Kernel sandboxes.  A mixed workload of several threads, with growing and shrinking blocks of all
 * kinds, passes under a seccomp filter that allows what docs/DESIGN.md lists and nothing else; and
 * under filters that refuse one call after the other with EPERM or ENOSYS it gives the same output,
 * and loses nothing.
 */
#include "hak_names.h"
#include "sandbox.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { THREADS = 4, SLOTS = 96, STEPS = HK_DEBUG >= 2 ? 500 : 2000, SHARED = 64 };

/* What the library itself may call: keep in step with docs/DESIGN.md. */
static const long library_calls[] = {
    SYS_mmap,          SYS_munmap,      SYS_mremap, SYS_madvise,           SYS_mprotect,
    SYS_futex,         SYS_sched_yield, SYS_gettid, SYS_sched_getaffinity, SYS_getpid,
    SYS_clock_gettime, SYS_getrusage,
};

/* What the C library calls when a thread or the process ends, and the test's own complaint. */
static const long surrounding_calls[] = {SYS_exit, SYS_exit_group, SYS_rt_sigprocmask, SYS_write,
                                         SYS_rt_sigreturn};

static _Atomic(char *) shared[SHARED]; /* blocks that another thread frees */
static _Atomic unsigned ready, ended;
static _Atomic bool start;
static _Atomic bool may_be_refused; /* memory may run out */
static _Atomic uint64_t refusals;

typedef struct slot {
    void *block;
    size_t size;
    uint64_t id;
} slot_t;

static void give_up(int number)
{
    char text[] = "api_sandbox: system call      was made\n";
    for (int at = 28; number > 0; at--, number /= 10)
        text[at] = (char)('0' + number % 10);
    ssize_t written = write(2, text, sizeof text - 1);
    (void)written;
    _exit(1);
}

static void on_refused_call(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)context;
    give_up(info->si_syscall);
}

static size_t random_size(test_rng_t *rng)
{
    switch (test_below(rng, 16)) {
    case 0: return (test_below(rng, 8) == 0 ? 33 : 2) * MIB + test_below(rng, 6 * MIB);
    case 1:
    case 2: return 64 * KIB + test_below(rng, 600 * KIB);
    default: return test_log_size(rng, 15);
    }
}

static bool refused(const void *block)
{
    if (block != NULL)
        return false;
    CHECKF(errno == ENOMEM, " (errno %d)", errno);
    CHECK(may_be_refused);
    atomic_fetch_add(&refusals, 1);
    return true;
}

static void keep(slot_t *slot, void *block, size_t size, uint64_t id)
{
    *slot = (slot_t){block, size, id};
    test_fill(block, size, id);
}

static void step(slot_t *slot, test_rng_t *rng)
{
    size_t size = random_size(rng) + 16;
    size_t what = test_below(rng, 8);
    errno = 0;
    if (slot->block == NULL) {
        uint64_t id = test_next(rng) | 1; /* odd: large ones are filled here and there */
        void *block = what == 0   ? t_calloc(1, size)
                      : what == 1 ? t_aligned_alloc((size_t)1 << test_below(rng, 22), size)
                                  : t_malloc(size);
        if (refused(block))
            return;
        CHECK(what != 0 || test_is_filled_with(block, 0, size));
        keep(slot, block, size, id);
        return;
    }
    CHECK_PATTERN(slot->block, slot->size, slot->size, slot->id);
    if (what < 3) {
        size = what == 0 ? slot->size + slot->size / 2 : size;
        size = size > 60 * MIB ? 2 * MIB : size;
        void *block = t_realloc(slot->block, size);
        if (refused(block))
            return;
        size_t kept = size < slot->size ? size : slot->size;
        CHECK_PATTERN(block, kept, slot->size, slot->id);
        keep(slot, block, size, slot->id);
    } else if (what < 5) { /* for another thread to free, and one of another thread's for us */
        memset(slot->block, 0x5a, slot->size < 64 ? slot->size : 64);
        char *other = atomic_exchange(&shared[test_below(rng, SHARED)], slot->block);
        CHECK(other == NULL || test_is_filled_with(other, 0x5a, 16));
        t_free(other);
        slot->block = NULL;
        CHECK(errno == 0);
    } else {
        t_free(slot->block);
        slot->block = NULL;
        CHECK(errno == 0);
    }
}

static void *work(void *argument)
{
    slot_t slots[SLOTS] = {0};
    test_rng_t rng = test_rng((uintptr_t)argument);
    atomic_fetch_add(&ready, 1);
    while (!start) {
        (void)sched_yield();
    }
    for (int i = 0; i < STEPS; i++) {
        step(&slots[test_below(&rng, SLOTS)], &rng);
        if (i % 500 == 499)
            (void)hak_trim(0);
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].block != NULL) {
            CHECK_PATTERN(slots[i].block, slots[i].size, slots[i].size, slots[i].id);
            t_free(slots[i].block);
        }
    }
    atomic_fetch_add(&ended, 1);
    return NULL;
}

/* Threads, then the filter, then the work: starting threads is the program's own business.  Blocks
 * from before live on. */
static void run_filtered(const long *calls, size_t count, uint32_t listed, uint32_t otherwise)
{
    pthread_t threads[THREADS];
    char *early = t_malloc(40 * MIB), *early_run = t_malloc(3 * MIB), *early_small = t_malloc(100);
    CHECK(early != NULL && early_run != NULL && early_small != NULL);
    test_fill(early, 40 * MIB, 1);
    test_fill(early_run, 3 * MIB, 3);
    test_fill(early_small, 100, 2);
    struct sigaction action = {.sa_sigaction = on_refused_call, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGSYS, &action, NULL) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(work, (void *)(i + 1));
    while (ready < THREADS)
        (void)sched_yield();
    sandbox_install(calls, count, listed, otherwise);
    start = true;
    /* Where futex is refused the C library's own waiting ends the process: look first. */
    while (ended < THREADS)
        (void)sched_yield();
    if (listed == SECCOMP_RET_ALLOW)
        for (int i = 0; i < THREADS; i++)
            test_join(threads[i]);
    for (int i = 0; i < SHARED; i++)
        t_free(atomic_exchange(&shared[i], NULL));
    CHECK_PATTERN(early, 40 * MIB, 40 * MIB, 1);
    CHECK_PATTERN(early_run, 3 * MIB, 3 * MIB, 3);
    CHECK_PATTERN(early_small, 100, 100, 2);
    t_free(early);
    t_free(early_run);
    t_free(early_small);
    CHECK(t_check() == 0);
}

static void run_child(const char *name, void (*body)(long call, uint32_t action), long call,
                      uint32_t action)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(120);
        body(call, action);
        _exit(refusals > 0 ? 3 : 0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3),
           " (%s: status 0x%x)", name, (unsigned)status);
    printf("%-40s ok%s\n", name, WEXITSTATUS(status) == 3 ? ", ran out of memory" : "");
    fflush(stdout);
}

static void only_listed(long call, uint32_t action)
{
    long calls[SANDBOX_CALLS_MAX];
    size_t count = TEST_COUNT(library_calls);
    (void)call;
    memcpy(calls, library_calls, sizeof library_calls);
    memcpy(calls + count, surrounding_calls, sizeof surrounding_calls);
    run_filtered(calls, count + TEST_COUNT(surrounding_calls), SECCOMP_RET_ALLOW, action);
}

static void all_but_one(long call, uint32_t action)
{
    may_be_refused = call == SYS_mmap; /* then there is what was there before */
    run_filtered(&call, 1, action, SECCOMP_RET_ALLOW);
}

/* ---- Advice that is refused ---- */

/* A heap that would be asked to be of huge pages: that is tried once. */
static void refuse_advice(long call, uint32_t action)
{
    enum { BLOCKS = 800000, BYTES = 128 };
    static char *blocks[BLOCKS];
    hak_stats_t stats;
    sandbox_install(&call, 1, action, SECCOMP_RET_ALLOW);
    for (int i = 0; i < BLOCKS; i++) {
        CHECK((blocks[i] = t_malloc(BYTES)) != NULL);
        memset(blocks[i], i & 0xff, BYTES);
    }
    for (int i = 0; i < 300; i++) { /* three seconds and more */
        t_free(t_malloc(100000));
        usleep(10000);
    }
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    CHECKF(stats.superslabs > 32 && stats.huge_superslabs == 0 && stats.huge_refusals == 1,
           " (%d, %d, %d)", (int)stats.superslabs, (int)stats.huge_superslabs,
           (int)stats.huge_refusals);
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(test_is_filled_with(blocks[i], (unsigned char)i, BYTES));
        t_free(blocks[i]);
    }
    CHECK(t_check() == 0);
}

/* ---- A move that fails after the kernel has unmapped its target ---- */

/* In place of the kernel, which does the like where it runs into a limit: the target is unmapped,
 * another thread maps something there, and mremap says ENOMEM. */
static char *volatile taken_place;

#if defined(__x86_64__)
static void on_mremap(int signal_number, siginfo_t *info, void *context)
{
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    (void)signal_number;
    (void)info;
    char *target = (char *)machine->gregs[REG_R8];
    if ((machine->gregs[REG_R10] & MREMAP_FIXED) != 0) {
        CHECK(munmap(target, (size_t)machine->gregs[REG_RDX]) == 0);
        CHECK(mmap(target, 64 * KIB, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == target);
        memset(target, 0x33, 64 * KIB);
        taken_place = target;
    }
    machine->gregs[REG_RAX] = -ENOMEM;
}

static void fail_moves(long call, uint32_t action)
{
    struct sigaction handler = {.sa_sigaction = on_mremap, .sa_flags = SA_SIGINFO};
    char *block = t_malloc(40 * MIB);
    CHECK(block != NULL);
    test_fill(block, 40 * MIB, 1);
    CHECK(sigaction(SIGSYS, &handler, NULL) == 0);
    sandbox_install(&call, 1, action, SECCOMP_RET_ALLOW);
    block = t_realloc(block, 120 * MIB);
    CHECK(block != NULL && taken_place != NULL);
    CHECK_PATTERN(block, 40 * MIB, 40 * MIB, 1);
    CHECK(
        test_is_filled_with(taken_place, 0x33, 64 * KIB)); /* the other's mapping is still there */
    t_free(block);
    CHECK(t_check() == 0);
}
#endif

int main(void)
{
    static const struct {
        const char *name;
        long call;
    } refused_calls[] = {
        {"madvise", SYS_madvise},
        {"mremap", SYS_mremap},
        {"munmap", SYS_munmap},
        {"mprotect", SYS_mprotect},
        {"futex", SYS_futex},
        {"sched_yield", SYS_sched_yield},
        {"mmap", SYS_mmap},
        {"clock_gettime", SYS_clock_gettime},
        {"gettid", SYS_gettid},
        {"getpid", SYS_getpid},
        {"sched_getaffinity", SYS_sched_getaffinity},
    };
    if (TEST_SANITIZED || !sandbox_is_possible()) {
        puts("skipped: a sanitizer's own system calls, or no filters here");
        return 77;
    }
    run_child("nothing but what is listed", only_listed, 0, SECCOMP_RET_TRAP);
    for (size_t i = 0; i < TEST_COUNT(refused_calls); i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s: EPERM", refused_calls[i].name);
        run_child(name, all_but_one, refused_calls[i].call, SECCOMP_RET_ERRNO | EPERM);
        (void)snprintf(name, sizeof name, "%s: ENOSYS", refused_calls[i].name);
        run_child(name, all_but_one, refused_calls[i].call, SECCOMP_RET_ERRNO | ENOSYS);
    }
    run_child("huge pages are refused", refuse_advice, SYS_madvise, SECCOMP_RET_ERRNO | EPERM);
#if defined(__x86_64__)
    run_child("a move fails with its target gone", fail_moves, SYS_mremap, SECCOMP_RET_TRAP);
#endif
    return 0;
}
