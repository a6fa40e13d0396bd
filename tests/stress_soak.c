/*
 * Everything at once, for as long as one likes: threads that take, resize, hand on and free blocks
 * of all sizes, end in every way and leave blocks behind; forks out of any of them; first-class
 * heaps that come and go; whole-heap walks, trims and reports in between; bursts in which memory is
 * refused, by the hard limit or by the system.  A shadow of the address space shows overlaps,
 * patterns show writes that went astray.  Every 20 seconds all of it comes to rest: then nothing
 * may be live, and little resident.  Totals are printed once a minute; SIGTERM ends it early, with
 * the totals.  Under sanitizers three things are left out, which they cannot bear: the system's
 * limits, threads in forked children, and destructors after theirs.
 *
 *     stress_soak [seconds [seed]]
 */
#include "soak.h"

#include "run_area.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

enum {
    THREADS_MAX = 24,
    SHARED = 1024,          /* places where threads leave blocks for each other */
    REST_SECONDS = 20,      /* from one rest to the next */
    PATIENCE_POLLS = 30000, /* of 20 ms, for a child */
    PATIENCE_MINUTES = 10,  /* without one operation */
};

#define LIVE_LIMIT (256 * MIB)
#define REST_LIVE_MOST (1 * MIB) /* glibc's own, for threads whose stacks it keeps */
#define REST_RESIDENT_MOST (64 * MIB)

static _Atomic(block_t *) shared[SHARED];
static _Atomic(worker_t *) left_behind; /* by a thread that has ended, with all it held */
static atomic_bool stop, enough;
static pthread_key_t key;

/* Held for reading by who forks, for writing while the system refuses memory: a free in the midst
 * of both would lose its block. */
static pthread_rwlock_t address_space = PTHREAD_RWLOCK_INITIALIZER;

/* ---- threads ---- */

static void fork_once(worker_t *worker);

static void step(worker_t *worker)
{
    block_t **place = &worker->held[test_below(&worker->rng, worker->in_use)];
    count(&counted->operations);
    if (*place == NULL) {
        if (live_bytes < LIVE_LIMIT)
            take(place, worker);
        return;
    }
    switch (test_below(&worker->rng, 16)) {
    case 0:
    case 1: resize(*place, worker); break;
    case 2:
    case 3:
    case 4:
        if ((*place)->in_heap)
            break;
        *place = atomic_exchange(&shared[test_below(&worker->rng, SHARED)], *place);
        count(&counted->handed_on);
        break;
    case 5: verify(*place); break;
    default: drop(place, &worker->rng); break;
    }
}

static void run_worker(worker_t *worker, size_t steps)
{
    for (size_t i = 0; i < steps && !stop; i++) {
        if (i % 2048 == 0)
            change_mood(worker);
        if (test_below(&worker->rng, 60000) == 0)
            fork_once(worker);
        step(worker);
    }
}

/* A destructor of the program's, before and after that of the library. */
static void end_late(void *argument)
{
    worker_t *worker = argument;
    if (worker->late_rounds-- > 0 && pthread_setspecific(key, worker) == 0)
        return;
    end_worker(worker);
}

static void *work(void *argument)
{
    static atomic_ullong numbers;
    worker_t *other = atomic_exchange(&left_behind, NULL);
    if (other != NULL)
        end_worker(other);
    worker_t *worker = make_worker(seed * 1000003 + numbers++);
    if (worker == NULL)
        return argument;
    run_worker(worker, 1000 + test_below(&worker->rng, 100000));
    size_t way = test_below(&worker->rng, 8);
    worker->late_rounds = TEST_SANITIZED
                              ? (int)way % 2
                              : (int)way - 4; /* at most 3: glibc runs destructors four times */
    count(&counted->thread_ends);
    if (way < 2) {
        end_worker(worker);
    } else if (way < 4 || pthread_setspecific(key, worker) != 0) {
        worker = atomic_exchange(&left_behind, worker);
        if (worker != NULL)
            end_worker(worker);
    }
    return argument;
}

/* False if the system refuses a stack. */
static bool start_thread(pthread_t *thread, void *(*body)(void *))
{
    unsigned before = burst;
    int error = pthread_create(thread, NULL, body, NULL);
    CHECKF(error == 0 || is_short(before), " (%d)", error);
    return error == 0;
}

/* Threads end and others come in their place. */
static void *keep_working(void *argument)
{
    while (!stop) {
        pthread_t thread;
        if (start_thread(&thread, work))
            test_join(thread);
        else
            (void)sched_yield();
    }
    return argument;
}

/* ---- what the conductor does meanwhile ---- */

static void set_address_space(size_t bytes)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur = bytes == 0 || bytes > limit.rlim_max ? limit.rlim_max : bytes;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* While a fork is under way there is no walk. */
static void check_whole(void)
{
    unsigned forks = look_at_forks();
    size_t found = t_check();
    CHECKF(found == 0, " (%zu violations, seed %llu)", found, (unsigned long long)seed);
    if (forks == forks_begun)
        count(&counted->checks);
}

static void refuse_memory(test_rng_t *rng)
{
    size_t more = test_below(rng, 8) * MIB;
    burst++;
    bool by_system = !TEST_SANITIZED && test_below(rng, 2) == 0;
    if (by_system) {
        CHECK(pthread_rwlock_wrlock(&address_space) == 0);
        set_address_space(test_vm_bytes() + more);
    } else {
        CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed() + 4 * MIB + more) == 0);
    }
    (void)usleep((useconds_t)(1000 + test_below(rng, 60000)));
    if (test_below(rng, 2) == 0)
        check_whole();
    set_address_space(0);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    if (by_system)
        CHECK(pthread_rwlock_unlock(&address_space) == 0);
    burst++;
    count(&counted->bursts);
}

/* The child has the forking thread's blocks and what lies in shared places; others' blocks are lost
 * to it. */
__attribute__((noreturn)) static void be_child(worker_t *worker)
{
    depth++;
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    burst = 2;
    forks_ended = (unsigned)forks_begun;
    check_whole();
    pthread_t thread;
    bool with_thread =
        !TEST_SANITIZED && test_below(&worker->rng, 2) == 0 && start_thread(&thread, work);
    run_worker(worker, 200 + test_below(&worker->rng, 4000));
    stop = true;
    if (with_thread)
        test_join(thread);
    end_worker(worker);
    check_whole();
    _exit(0);
}

static void fork_once(worker_t *worker)
{
    if (depth >= 2 || pthread_rwlock_tryrdlock(&address_space) != 0)
        return;
    unsigned before = burst;
    forks_begun++;
    pid_t pid = fork();
    if (pid == 0)
        be_child(worker);
    forks_ended++;
    CHECK(pthread_rwlock_unlock(&address_space) == 0);
    if (pid < 0) {
        CHECKF(is_short(before), " (fork: errno %d)", errno);
        return;
    }
    count(&counted->forks);
    int status = 0;
    unsigned polls = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (polls++ == PATIENCE_POLLS)
            CHECK(kill(pid, SIGABRT) == 0);
        (void)usleep(polls < 20 ? 1000 : 20000);
    }
    CHECKF(status == 0, " (child %d: status 0x%x)", (int)pid, (unsigned)status);
}

static void disturb(test_rng_t *rng, int null_fd)
{
    hak_stats_t stats;
    switch (test_below(rng, 16)) {
    case 0:
    case 1:
        (void)hak_trim(test_below(rng, 4) * MIB);
        count(&counted->trims);
        break;
    case 2:
        CHECK(hak_stats_get(&stats, sizeof stats) == 0);
        CHECK(hak_stats_json(null_fd) == 0);
        count(&counted->reports);
        break;
    case 3:
    case 4: refuse_memory(rng); break;
    case 5: {
        worker_t *worker = make_worker(test_next(rng));
        change_mood(worker);
        fork_once(worker);
        end_worker(worker);
        break;
    }
    default: check_whole(); break;
    }
    (void)usleep((useconds_t)test_below(rng, 50000));
}

/* ---- rests, and the totals ---- */

/* The runs that are left, and what knows of them: a first-class heap, or a shelf. */
static void print_runs(const hk_run_area_t *area, void *context)
{
    (void)context;
    for (size_t page = 0; page < area->pages; page++) {
        const hk_run_t *run = &area->runs[page];
        if (hk_run_area_is_block(area, page))
            fprintf(stderr, "left: a run of %u pages at %p, heap %p, shelf %u\n",
                    (unsigned)run->pages, (void *)(area->base + (page << area->page_shift)),
                    (void *)run->heap, (unsigned)run->shelf);
    }
}

/* With all threads ended: everything is freed, and nothing must be left. */
static void rest(test_rng_t *rng)
{
    for (size_t i = 0; i < SHARED; i++) {
        block_t *block = atomic_exchange(&shared[i], NULL);
        if (block != NULL)
            drop(&block, rng);
    }
    worker_t *worker = atomic_exchange(&left_behind, NULL);
    if (worker != NULL)
        end_worker(worker);
    CHECKF(live_bytes == 0, " (%zu)", (size_t)live_bytes);
    check_whole();
    (void)hak_trim(0);
    check_whole();
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    if (stats.live_bytes > REST_LIVE_MOST || stats.resident_bytes > REST_RESIDENT_MOST) {
        (void)hak_stats_print(2);
        hk_run_area_each(print_runs, NULL);
        CHECKF(false, " (left over at rest %llu, seed %llu)", (unsigned long long)counted->rests,
               (unsigned long long)seed);
    }
    count(&counted->rests);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Some threads, disturbed until the time is over, and a rest. */
static void run_generation(uint64_t end_ms, test_rng_t *rng, int null_fd)
{
    pthread_t threads[THREADS_MAX];
    size_t wanted = 1 + test_below(rng, THREADS_MAX);
    stop = false;
    for (size_t i = 0; i < wanted; i++)
        threads[i] = test_thread(keep_working, NULL);
    while (now_ms() < end_ms && !enough)
        disturb(rng, null_fd);
    stop = true;
    for (size_t i = 0; i < wanted; i++)
        test_join(threads[i]);
    rest(rng);
}

static void print_totals(uint64_t since_ms)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    char line[1024];
    uint64_t ms = now_ms() - since_ms;
    int used =
        snprintf(line, sizeof line,
                 "%llu min %02llu s, CPU %ld s, RSS %zu MiB:", (unsigned long long)(ms / 60000),
                 (unsigned long long)(ms / 1000 % 60),
                 (long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec), test_rss_bytes() / MIB);
#define X(name, text)                                                                              \
    used += snprintf(line + used, sizeof line - (size_t)used, " %llu %s,",                         \
                     (unsigned long long)counted->name, text);
    COUNTERS(X)
#undef X
    line[used - 1] = '\n';
    CHECK(write(1, line, (size_t)used) == used);
}

/* A line a minute; and an end if nothing moves any more. */
static void *watch(void *argument)
{
    const uint64_t *since_ms = argument;
    uint64_t before = 0;
    unsigned idle_minutes = 0;
    for (;;) {
        for (int i = 0; i < 60; i++)
            (void)sleep(1);
        print_totals(*since_ms);
        idle_minutes = counted->operations == before ? idle_minutes + 1 : 0;
        before = counted->operations;
        CHECKF(idle_minutes < PATIENCE_MINUTES, " (hung, seed %llu)", (unsigned long long)seed);
    }
    return NULL;
}

static void end_early(int number)
{
    (void)number;
    enough = true;
}

/* The address space may be at its limit when the first thread's stack would have to grow. */
static void grow_stack(void)
{
    volatile unsigned char room[256 * KIB];
    for (size_t i = 0; i < sizeof room; i += KIB)
        room[i] = 1;
    CHECK(room[0] == 1);
}

int main(int argc, char **argv)
{
    static uint64_t since_ms;
    uint64_t seconds = test_arg(argc, argv, 1, 6);
    seed = test_arg(argc, argv, 2, 31);
    printf("stress_soak: %llu seconds, seed %llu\n", (unsigned long long)seconds,
           (unsigned long long)seed);
    fflush(stdout);
    grow_stack();
    counted =
        mmap(NULL, sizeof *counted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(counted != MAP_FAILED);
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(null_fd >= 0);
    CHECK(pthread_key_create(&key, end_late) == 0); /* before the library's own */
    CHECK(signal(SIGTERM, end_early) != SIG_ERR);
    since_ms = now_ms();
    CHECK(pthread_detach(test_thread(watch, &since_ms)) == 0);
    uint64_t end_ms = since_ms + seconds * 1000;
    uint64_t generation_ms = seconds < 4 * REST_SECONDS ? seconds * 250 : REST_SECONDS * 1000;
    test_rng_t rng = test_rng(seed);
    while (now_ms() < end_ms && !enough)
        run_generation(now_ms() + generation_ms, &rng, null_fd);
    print_totals(since_ms);
    CHECK(counted->operations > 0 && counted->thread_ends > 0 && counted->bursts > 0);
    puts("stress_soak: ok, no finding");
    return 0;
}
