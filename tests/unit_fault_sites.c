/*
 * Every place from which HAKMEM asks the system for memory, or gives it back, fails in turn, under
 * several workloads.
 *
 * The program's own mmap, munmap, mremap, madvise and mprotect stand in for the C library's.  They
 * know a call site by the frames above them.  A first run of a workload finds its sites; then, for
 * each, its first, second, ... call fails: once alone, and once with every call of any kind after
 * it.  Each run is a process of its own.  Blocks must keep their content, requests fail with ENOMEM
 * or not at all, and when there is memory again all succeeds, the heaps are whole, and what was
 * mapped has gone back.
 *
 *     unit_fault_sites [first | all]   first: only the first call of each site; all: every single
 *                                      call of each, which takes long
 */
#include "sparse.h"

#include <execinfo.h>
#include <hakmem/hakmem.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "fork_elsewhere.h"

enum { SITES_MAX = 1024, FRAMES = 6, SLOTS = 256, ORDINALS = 3, TOLERANCE = 3 << 20 };

/* ---- The system's calls ---- */

typedef enum kind { MMAP, MUNMAP, MREMAP, MADVISE, MPROTECT, KINDS } kind_t;
static const char *const kind_names[KINDS] = {"mmap", "munmap", "mremap", "madvise", "mprotect"};

typedef struct site {
    _Atomic uint64_t hash; /* 0: free */
    kind_t kind;
    _Atomic uint64_t calls;
} site_t;

/* In shared memory: the child fills it, the parent reads it. */
static struct {
    site_t sites[SITES_MAX];
    _Atomic bool watching;
    uint64_t hash; /* of the site that is to fail; 0: none */
    uint64_t ordinal;
    bool all_after;
    _Atomic bool all_fail;
    _Atomic uint64_t failures;
    _Atomic uint64_t refusals; /* requests that got NULL */
    _Atomic size_t mapped_bytes;
    _Atomic uint64_t clock_ms;
    _Atomic bool clock_stands;
    uint64_t converted; /* superslabs, in the whole run */
} * plan;

static site_t *find_site(kind_t kind, void *const *frames, int count)
{
    uint64_t hash = (uint64_t)kind + 1;
    for (int i = 0; i < count; i++)
        hash = (hash ^ (uintptr_t)frames[i]) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = hash % SITES_MAX;; i = (i + 1) % SITES_MAX) {
        site_t *site = &plan->sites[i];
        uint64_t none = 0;
        if (atomic_load(&site->hash) == hash)
            return site;
        if (atomic_compare_exchange_strong(&site->hash, &none, hash)) {
            site->kind = kind;
            return site;
        }
    }
}

/* Whether this call has to fail. */
static TEST_UNUSED __attribute__((noinline)) bool must_fail(kind_t kind)
{
    void *frames[FRAMES + 2];
    if (plan == NULL || !plan->watching)
        return false;
    int count = backtrace(frames, FRAMES + 2); /* this function and its caller are no news */
    site_t *site = find_site(kind, frames + 2, count - 2);
    uint64_t number = atomic_fetch_add(&site->calls, 1);
    bool fails = plan->all_fail || (site->hash == plan->hash && number == plan->ordinal);
    if (fails) {
        plan->all_fail = plan->all_after;
        plan->failures++;
        errno = ENOMEM;
    }
    return fails;
}

#if !defined(__SANITIZE_THREAD__) /* it needs its own */
void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (must_fail(MMAP))
        return MAP_FAILED;
    long result = syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
    if (result != -1 && plan != NULL)
        plan->mapped_bytes += bytes;
    return (void *)result; /* MAP_FAILED is -1 */
}

int munmap(void *address, size_t bytes)
{
    if (must_fail(MUNMAP))
        return -1;
    int result = (int)syscall(SYS_munmap, address, bytes);
    if (result == 0 && plan != NULL)
        plan->mapped_bytes -= bytes;
    return result;
}

void *mremap(void *address, size_t old_bytes, size_t new_bytes, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    void *target = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void *) : NULL;
    va_end(arguments);
    /* Where there is a target the kernel has unmapped it before it fails. */
    bool fails = must_fail(MREMAP);
    if (target != NULL && (fails || new_bytes == 0)) {
        CHECK(munmap(target, new_bytes) == 0 || plan->all_fail);
        errno = ENOMEM;
    }
    if (fails)
        return MAP_FAILED;
    long result = syscall(SYS_mremap, address, old_bytes, new_bytes, flags, target);
    if (result != -1 && plan != NULL)
        plan->mapped_bytes += (target == NULL ? new_bytes : 0) - old_bytes;
    return (void *)result;
}

int madvise(void *address, size_t bytes, int advice)
{
    return must_fail(MADVISE) ? -1 : (int)syscall(SYS_madvise, address, bytes, advice);
}

int mprotect(void *address, size_t bytes, int protection)
{
    return must_fail(MPROTECT) ? -1 : (int)syscall(SYS_mprotect, address, bytes, protection);
}

/* Each look at the clock finds it 20 ms later, so that epochs end all the time; unless it
 * stands. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    uint64_t step = plan == NULL || plan->clock_stands ? 0 : 20;
    uint64_t ms = plan == NULL ? 0 : atomic_fetch_add(&plan->clock_ms, step) + step;
    (void)clock;
    *now = (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    return 0;
}
#endif

/* ---- Blocks ---- */

typedef struct slot {
    char *block;
    size_t size;
    uint64_t id;
} slot_t;

typedef struct worker {
    test_rng_t rng;
    slot_t slots[SLOTS];
    hak_heap_t *heap;
} worker_t;

static worker_t workers[4];

static bool refused(const void *block)
{
    if (block != NULL)
        return false;
    CHECKF(errno == ENOMEM, " (errno %d)", errno);
    CHECK(plan->failures > 0 && plan->watching); /* else there was memory */
    plan->refusals++;
    return true;
}

static void fill(const slot_t *slot)
{
    if (slot->size <= MIB)
        test_fill(slot->block, slot->size, slot->id);
    else
        sparse_fill((unsigned char *)slot->block, slot->size, slot->id);
}

/* The first length bytes of what was the slot's block are at the address. */
static void check_content(const slot_t *slot, const char *address, size_t length)
{
    if (slot->size <= MIB)
        CHECK_PATTERN(address, length, slot->size, slot->id);
    else
        CHECK(sparse_is_filled((const unsigned char *)address, length, slot->size, slot->id));
}

static void take(worker_t *worker, slot_t *slot, size_t size)
{
    size_t what = test_below(&worker->rng, 8);
    errno = 0;
    char *block = worker->heap != NULL ? hak_heap_malloc(worker->heap, size)
                  : what == 0          ? hak_calloc(1, size)
                  : what == 1 ? hak_aligned_alloc((size_t)8 << test_below(&worker->rng, 19), size)
                              : hak_malloc(size);
    if (refused(block))
        return;
    CHECK(worker->heap != NULL || what != 0 || sparse_is_zero((unsigned char *)block, size));
    *slot = (slot_t){block, size, test_next(&worker->rng) | 1};
    fill(slot);
}

static void drop(slot_t *slot)
{
    if (slot->block != NULL) {
        check_content(slot, slot->block, slot->size);
        hak_free(slot->block);
        slot->block = NULL;
    }
}

static void resize(slot_t *slot, size_t size)
{
    if (slot->block == NULL)
        return;
    errno = 0;
    char *block = hak_realloc(slot->block, size);
    if (refused(block)) {
        check_content(slot, slot->block, slot->size);
        return;
    }
    check_content(slot, block, size < slot->size ? size : slot->size);
    slot->block = block;
    slot->size = size;
    fill(slot);
}

static void drop_all(worker_t *worker)
{
    for (size_t i = 0; i < SLOTS; i++)
        drop(&worker->slots[i]);
}

/* Fills the slots and empties them, in waves, with sizes up to 2^bits. */
static void churn(worker_t *worker, unsigned bits, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        slot_t *slot = &worker->slots[test_below(&worker->rng, SLOTS)];
        size_t size = 1 + test_log_size(&worker->rng, bits);
        if (slot->block == NULL)
            take(worker, slot, size);
        else if (i % 4 == 0)
            resize(slot, size);
        else
            drop(slot);
    }
}

/* ---- Workloads ---- */

static void small_blocks(void)
{
    for (int wave = 0; wave < 2; wave++) {
        for (size_t i = 0; i < SLOTS; i++)
            if (workers[0].slots[i].block == NULL)
                take(&workers[0], &workers[0].slots[i], 20000 + 100 * i);
        churn(&workers[0], 16, 2000);
        drop_all(&workers[0]);
        for (int i = 0; i < 200; i++) { /* the clock goes on, and memory back */
            char *block = hak_malloc(60000);
            (void)refused(block);
            hak_free(block);
        }
    }
    churn(&workers[0], 14, 2000);
    (void)hak_trim(0);
}

/* Runs of pages and direct mappings, from the ones to the others and back; what is kept of both
 * goes back while the clock goes on. */
static void large_blocks(void)
{
    worker_t *worker = &workers[0];
    for (int wave = 0; wave < 4; wave++) {
        for (size_t i = 0; i < 4; i++) {
            size_t size = (33 + (i + (size_t)wave) % 2) * MIB + i * 5000;
            if (worker->slots[i].block == NULL)
                take(worker, &worker->slots[i], size);
            resize(&worker->slots[i], size + MIB / 2);
            resize(&worker->slots[i], size * 3);
            resize(&worker->slots[i], size);
            resize(&worker->slots[i], 3 * MIB);
            resize(&worker->slots[i], 100 * KIB);
            resize(&worker->slots[i], 900 * KIB);
        }
        for (size_t i = (size_t)wave % 2; i < 4; i += 2)
            drop(&worker->slots[i]);
        drop(&worker->slots[10 + wave]); /* of the run before */
        take(worker, &worker->slots[10 + wave], 300 * KIB);
        if (wave % 3 == 2)
            (void)hak_trim(0);
        for (int i = 0; i < 600; i++) {
            char *block = hak_malloc(100 * KIB);
            (void)refused(block);
            hak_free(block);
        }
    }
}

static void heaps(void)
{
    for (int wave = 0; wave < 4; wave++) {
        errno = 0;
        workers[0].heap = hak_heap_create();
        if (refused(workers[0].heap))
            continue;
        churn(&workers[0], 21, 300);
        for (size_t i = 0; i < SLOTS; i += 2)
            drop(&workers[0].slots[i]);
        take(&workers[0], &workers[0].slots[0], 33 * MIB);
        churn(&workers[0], 12, 300);
        for (size_t i = 0; i < SLOTS; i++)
            if (workers[0].slots[i].block != NULL) {
                check_content(&workers[0].slots[i], workers[0].slots[i].block,
                              workers[0].slots[i].size);
                workers[0].slots[i].block = NULL;
            }
        hak_heap_destroy(workers[0].heap);
        workers[0].heap = NULL;
    }
}

static void *thread_body(void *argument)
{
    worker_t *worker = argument;
    churn(worker, 17, 800);
    return NULL;
}

/* Threads that end, whose blocks others free: by magazines that are handed over, and into parked
 * heaps. */
static void threads(void)
{
    for (int wave = 0; wave < 3; wave++) {
        pthread_t handles[TEST_COUNT(workers)];
        for (size_t i = 0; i < TEST_COUNT(workers); i++)
            handles[i] = test_thread(thread_body, &workers[i]);
        for (size_t i = 0; i < TEST_COUNT(workers); i++)
            test_join(handles[i]);
        for (size_t i = 0; i < TEST_COUNT(workers); i++)
            for (size_t j = (size_t)wave % 2; j < SLOTS; j += 2)
                drop(&workers[i].slots[j]);
    }
    (void)hak_trim(MIB);
}

/* Another thread forks: the refuge serves. */
static void forks(void)
{
    for (int wave = 0; wave < 3; wave++) {
        pthread_t forker;
        churn(&workers[0], 15, 300);
        if (!fork_try_begin(&forker)) {
            CHECK(plan->failures > 0);
            continue;
        }
        for (size_t i = 0; i < SLOTS; i++) {
            slot_t *slot = &workers[0].slots[i];
            if (slot->block != NULL && i % 3 == 0) {
                drop(slot);
            } else if (slot->block == NULL) {
                errno = 0;
                size_t size = i % 50 == 0 ? 300 * KIB : 3000 + i * 40;
                char *block = hak_malloc(size);
                if (refused(block))
                    continue;
                *slot = (slot_t){block, size, i | 1};
                fill(slot);
            } else {
                resize(slot, slot->size + 3000);
            }
        }
        fork_end(forker);
        churn(&workers[0], 15, 300);
    }
}

/* By turns of runs and small blocks: free runs become superslabs, and these runs again. */
static void turns(void)
{
    plan->clock_stands = true; /* nothing goes by time */
    for (int wave = 0; wave < 4; wave++) {
        worker_t *worker = &workers[wave % 2];
        for (size_t i = 0; i < SLOTS; i++)
            if (worker->slots[i].block == NULL)
                take(worker, &worker->slots[i], wave % 2 == 0 ? 100 * KIB : 60000 + i);
        for (size_t i = 0; i < SLOTS; i++)
            if (wave < 2 || i % 16 != 0)
                drop(&worker->slots[i]);
    }
    plan->clock_stands = false;
    (void)hak_trim(0);
}

static const struct workload {
    const char *name;
    void (*run)(void);
} workloads[] = {
    {"small blocks", small_blocks},
    {"large blocks", large_blocks},
    {"heaps", heaps},
    {"threads", threads},
    {"fork", forks},
    {"turns", turns},
};

/* ---- Runs ---- */

static void give_all_back(void)
{
    for (size_t i = 0; i < TEST_COUNT(workers); i++)
        drop_all(&workers[i]);
    CHECK(hak_check() == 0);
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
}

/* The workload with the plan, then again with memory; ends the process.  The bytes mapped at the
 * end are left in the plan. */
__attribute__((noreturn)) static void run_child(const struct workload *workload)
{
    alarm(120);
    for (size_t i = 0; i < TEST_COUNT(workers); i++)
        workers[i].rng = test_rng(i);
    plan->watching = true;
    workload->run();
    plan->watching = false;
    plan->all_fail = false;
    CHECK(hak_check() == 0);
    for (size_t i = 0; i < TEST_COUNT(workers); i++)
        for (size_t j = 0; j < SLOTS; j++)
            if (workers[i].slots[j].block != NULL)
                check_content(&workers[i].slots[j], workers[i].slots[j].block,
                              workers[i].slots[j].size);
    workload->run(); /* refused() would not let a failure pass now */
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    plan->converted = stats.converted_superslabs;
    give_all_back();
    _exit(0);
}

static void run(const struct workload *workload, const char *what)
{
    plan->watching = plan->all_fail = false;
    plan->failures = plan->refusals = plan->converted = 0;
    plan->clock_stands = false;
    plan->mapped_bytes = 0;
    plan->clock_ms = 1000;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        run_child(workload);
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, " (%s, %s, call %llu%s: status 0x%x)",
           workload->name, what, (unsigned long long)plan->ordinal,
           plan->all_after ? " and all after it" : "", (unsigned)status);
}

static struct totals {
    uint64_t sites, runs, reached, refusals;
} totals;

/* The number of the call to try; false if there is none, or it was tried before. */
static bool choose_ordinal(uint64_t calls, uint64_t tries, uint64_t at, uint64_t *ordinal)
{
    const uint64_t some[ORDINALS] = {0, calls / 2, calls - 1};
    bool all = tries > ORDINALS;
    *ordinal = all ? at : some[at];
    for (uint64_t i = 0; i < at && !all; i++)
        if (some[i] == *ordinal)
            return false;
    return *ordinal < calls;
}

/* most: the calls of a site to try. */
static void walk(const struct workload *workload, uint64_t most)
{
    static site_t found[SITES_MAX];
    memset(plan->sites, 0, sizeof plan->sites);
    plan->hash = 0;
    run(workload, "no failure");
    CHECK(plan->failures == 0);
    CHECK(plan->converted > 0 || workload->run != turns);
    size_t usual_bytes = plan->mapped_bytes;
    memcpy(found, plan->sites, sizeof found);
    struct totals mine = {0};
    uint64_t by_kind[KINDS] = {0}, calls = 0;
    for (size_t i = 0; i < SITES_MAX; i++) {
        if (found[i].hash == 0)
            continue;
        mine.sites++;
        by_kind[found[i].kind]++;
        calls += found[i].calls;
        uint64_t tries = most > found[i].calls ? found[i].calls : most;
        for (uint64_t at = 0; at < 2 * tries; at++) {
            if (!choose_ordinal(found[i].calls, tries, at / 2, &plan->ordinal))
                continue;
            memset(plan->sites, 0, sizeof plan->sites);
            plan->hash = found[i].hash;
            plan->all_after = at % 2 == 1;
            run(workload, kind_names[found[i].kind]);
            mine.runs++;
            mine.reached += plan->failures > 0;
            mine.refusals += plan->refusals;
            /* What the system refused to unmap is lost; all else has gone back. */
            bool may_lose = found[i].kind == MUNMAP || plan->all_after;
            CHECKF(may_lose || plan->mapped_bytes <= usual_bytes + TOLERANCE,
                   " (%s, %s, call %llu: %zu bytes left, usually %zu)", workload->name,
                   kind_names[found[i].kind], (unsigned long long)plan->ordinal,
                   (size_t)plan->mapped_bytes, usual_bytes);
        }
    }
    printf("%-13s %3llu sites (", workload->name, (unsigned long long)mine.sites);
    for (int kind = 0; kind < KINDS; kind++)
        printf("%s%s %llu", kind > 0 ? ", " : "", kind_names[kind],
               (unsigned long long)by_kind[kind]);
    printf("), %llu calls: %llu runs, %llu met their failure, %llu requests refused\n",
           (unsigned long long)calls, (unsigned long long)mine.runs,
           (unsigned long long)mine.reached, (unsigned long long)mine.refusals);
    fflush(stdout);
    CHECK(mine.sites > 3 && mine.reached > mine.runs / 2);
    totals.sites += mine.sites;
    totals.runs += mine.runs;
    totals.reached += mine.reached;
    totals.refusals += mine.refusals;
}

int main(int argc, char **argv)
{
#if defined(__SANITIZE_THREAD__)
    puts("skipped: ThreadSanitizer needs its own mmap");
    return 77;
#endif
    void *frames[2];
    (void)backtrace(frames, 2); /* loads what it needs, now */
    plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(plan != MAP_FAILED);
    test_use_up_apart(hak_malloc, hak_free);
    (void)hak_trim(0);
    uint64_t most = argc == 1 ? ORDINALS : strcmp(argv[1], "first") == 0 ? 1 : UINT64_MAX;
    for (size_t i = 0; i < TEST_COUNT(workloads); i++)
        walk(&workloads[i], most);
    printf("%llu sites in %zu workloads, %llu runs, %llu met their failure, %llu requests refused: "
           "no corruption, no hang, no leak\n",
           (unsigned long long)totals.sites, TEST_COUNT(workloads), (unsigned long long)totals.runs,
           (unsigned long long)totals.reached, (unsigned long long)totals.refusals);
    return 0;
}
