/*
 * fork in all the situations in which replacements are known to hang; run with
 * LD_PRELOAD=libhakmem.so. Each case is a process of its own; a case that hangs is ended by its
 * alarm and named.
 *
 *     libc_fork [case]
 */
#include "test.h"
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/time.h>

enum { HANG_SECONDS = 100, CHILD_SECONDS = 60 };

static void *(*volatile v_malloc)(size_t) = malloc;
static void *(*volatile v_calloc)(size_t, size_t) = calloc;
static void *(*volatile v_realloc)(void *, size_t) = realloc;
static void (*volatile v_free)(void *) = free;
static void *(*volatile v_aligned_alloc)(size_t, size_t) = aligned_alloc;

static atomic_bool stop;
extern char **environ;

/* One bout of work that reaches the slow paths: batches that empty and fill magazines, runs of
 * pages, mappings. */
static void bout(uint64_t seed, size_t small_blocks)
{
    enum { MOST = 600 };
    void *blocks[MOST];
    test_rng_t rng = test_rng(seed);
    if (small_blocks > MOST)
        small_blocks = MOST;
    for (size_t i = 0; i < small_blocks; i++) {
        size_t size = 16 + test_below(&rng, 2000);
        blocks[i] = v_malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, size);
    }
    void *medium = v_malloc(40 * KIB + test_below(&rng, 160 * KIB));
    void *large = v_calloc(1, 1 * MIB + test_below(&rng, 2 * MIB));
    void *aligned = v_aligned_alloc(64 * KIB, 100 * KIB);
    CHECK(medium != NULL && large != NULL && aligned != NULL);
    large = v_realloc(large, 3 * MIB + test_below(&rng, MIB));
    medium = v_realloc(medium, 300);
    CHECK(large != NULL && medium != NULL);
    v_free(large);
    v_free(aligned);
    for (size_t i = 0; i < small_blocks; i++)
        v_free(blocks[i]);
    v_free(medium);
}

static void *bouts_until_stop(void *argument)
{
    uint64_t seed = (uintptr_t)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        bout(seed++, 300);
    return NULL;
}

static void *one_bout(void *argument)
{
    bout((uintptr_t)argument, 100);
    return NULL;
}

static void *threads_until_stop(void *argument)
{
    uintptr_t seed = (uintptr_t)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        pthread_t threads[3];
        for (size_t i = 0; i < TEST_COUNT(threads); i++)
            threads[i] = test_thread(one_bout, (void *)++seed);
        for (size_t i = 0; i < TEST_COUNT(threads); i++)
            test_join(threads[i]);
    }
    return NULL;
}

static pid_t checked_fork(void)
{
    pid_t pid = fork();
    CHECKF(pid >= 0, " (errno %d)", errno);
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(CHILD_SECONDS);
    }
    return pid;
}

static void expect_exit(pid_t pid, const char *what)
{
    int status = 0;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    CHECK(got == pid);
    CHECKF(status == 0, " (%s: %s, status 0x%x)", what,
           WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "the child hung"
                                                              : "the child failed",
           (unsigned)status);
}

enum { WORKERS = 3 };
static pthread_t workers[WORKERS + 1];

static void start_workers(void)
{
    for (size_t i = 0; i < WORKERS; i++)
        workers[i] = test_thread(bouts_until_stop, (void *)(1000 * (i + 1)));
    workers[WORKERS] = test_thread(threads_until_stop, (void *)9000);
}

static void stop_workers(void)
{
    atomic_store(&stop, true);
    for (size_t i = 0; i <= WORKERS; i++)
        test_join(workers[i]);
    CHECK(test_preloaded_check() == 0);
}

/* ---- cases ---- */

static void storm(void)
{
    start_workers();
    for (unsigned i = 0; i < 300; i++) {
        void *inherited = v_malloc(100 + i * 50);
        void *inherited_large = i % 10 == 0 ? v_malloc(3 * MIB) : NULL;
        CHECK(inherited != NULL);
        test_fill(inherited, 100 + i * 50, i);
        pid_t pid = checked_fork();
        if (pid == 0) {
            CHECK_PATTERN(inherited, 100 + i * 50, 100 + i * 50, i);
            for (uint64_t j = 0; j < 6; j++)
                bout(i * 100 + j, 400);
            inherited = v_realloc(inherited, 60000);
            CHECK(inherited != NULL);
            v_free(inherited);
            v_free(inherited_large);
            if (i % 10 == 0) {
                test_join(test_thread(one_bout, (void *)3));
                malloc_trim(0);
                CHECK(test_preloaded_check() == 0);
            }
            if (i % 25 == 0) {
                pid_t grandchild = checked_fork();
                if (grandchild == 0) {
                    bout(5, 500);
                    _exit(0);
                }
                expect_exit(grandchild, "grandchild");
            }
            _exit(0);
        }
        expect_exit(pid, "storm");
        CHECK_PATTERN(inherited, 100 + i * 50, 100 + i * 50, i);
        v_free(inherited);
        v_free(inherited_large);
    }
    stop_workers();
}

/* Forks from several threads at once. */
static void *forks_too(void *argument)
{
    for (unsigned i = 0; i < 40; i++) {
        pid_t pid = checked_fork();
        if (pid == 0) {
            bout((uintptr_t)argument + i, 300);
            _exit(0);
        }
        expect_exit(pid, "fork by many threads");
        bout(i, 50);
    }
    return NULL;
}

static void from_threads(void)
{
    start_workers();
    pthread_t threads[3];
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(forks_too, (void *)i);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        test_join(threads[i]);
    stop_workers();
}

/* Threads that allocate while they hold a stream's lock: the buffer of a memory stream grows under
 * it, a file's buffer is made under it at the first write, and getline's line grows under it.
 * Files are in the list of all streams as well; memory streams are not. */
static void *writes_streams(void *argument)
{
    (void)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        char *text = NULL;
        size_t length = 0;
        FILE *stream = open_memstream(&text, &length);
        CHECK(stream != NULL);
        flockfile(stream);
        for (int i = 0; i < 3000; i++)
            CHECK(fprintf(stream, "line %d of many\n", i) > 0);
        bout((uint64_t)length, 100);
        funlockfile(stream);
        CHECK(fclose(stream) == 0);
        v_free(text);

        FILE *file = fopen("/dev/null", "w");
        CHECK(file != NULL);
        flockfile(file);
        CHECK(fprintf(file, "the first write\n") > 0);
        bout((uint64_t)length, 300);
        funlockfile(file);
        CHECK(fclose(file) == 0);

        file = fopen("/proc/self/status", "r");
        CHECK(file != NULL);
        char *line = NULL;
        size_t room = 0;
        while (getline(&line, &room, file) >= 0)
            continue;
        CHECK(fclose(file) == 0);
        v_free(line);
    }
    return NULL;
}

/* fflush(NULL) takes the list of all streams, then each stream's lock; fork wants that list too.  A
 * fork that keeps the allocator's locks while it waits for the list hangs: the list's holder waits
 * for a stream, the stream's holder for the allocator.  glibc's own malloc takes its locks after
 * the list. */
static void *flushes_all(void *argument)
{
    (void)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        fflush(NULL);
        usleep(100);
    }
    return NULL;
}

static void child_with_streams(void)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream != NULL);
    for (int i = 0; i < 2000; i++)
        CHECK(fprintf(stream, "%d\n", i) > 0);
    CHECK(fclose(stream) == 0);
    CHECK(length == 8890);
    v_free(text);
    FILE *null = fopen("/dev/null", "w");
    CHECK(null != NULL);
    CHECK(fprintf(null, "%s", "text") == 4);
    fclose(null);
    bout(1, 300);
    _exit(0);
}

static void stdio_with(bool flusher)
{
    pthread_t threads[3], flush_thread = 0;
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(writes_streams, NULL);
    if (flusher)
        flush_thread = test_thread(flushes_all, NULL);
    for (unsigned i = 0; i < 150; i++) {
        pid_t pid = checked_fork();
        if (pid == 0)
            child_with_streams();
        expect_exit(pid, "stdio");
        usleep(i % 7 * 50);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        test_join(threads[i]);
    if (flusher)
        test_join(flush_thread);
}

static void stdio_streams(void)
{
    stdio_with(false);
}

static void stdio_flush_all(void)
{
    stdio_with(true);
}

/* A thread that ends may be waited for by whoever has a stream that fflush(NULL) waits for, with
 * the list of all streams, which fork wants. */
static atomic_bool cached, locked, forking;

static void *ends_when_told(void *argument)
{
    bout(1, 100); /* it has a cache */
    atomic_store(&cached, true);
    while (!atomic_load(&forking))
        usleep(1000);
    return argument;
}

static void *joins_with_a_stream(void *argument)
{
    pthread_t ending = test_thread(ends_when_told, NULL);
    while (!atomic_load(&cached))
        usleep(1000);
    flockfile(stdout);
    atomic_store(&locked, true);
    test_join(ending);
    funlockfile(stdout);
    return argument;
}

static void *flushes(void *argument)
{
    fflush(NULL);
    return argument;
}

static void *tells_later(void *argument)
{
    usleep(300000); /* the fork waits for the list by then */
    atomic_store(&forking, true);
    return argument;
}

static void join_with_stream(void)
{
    for (int round = 0; round < 3; round++) {
        atomic_store(&cached, false);
        atomic_store(&locked, false);
        atomic_store(&forking, false);
        pthread_t joining = test_thread(joins_with_a_stream, NULL);
        while (!atomic_load(&locked))
            usleep(1000);
        pthread_t flushing = test_thread(flushes, NULL);
        usleep(100000);
        pthread_t telling = test_thread(tells_later, NULL);
        pid_t pid = checked_fork();
        if (pid == 0) {
            bout(2, 300);
            _exit(0);
        }
        expect_exit(pid, "join");
        test_join(joining);
        test_join(flushing);
        test_join(telling);
        bout(3, 300);
    }
    CHECK(test_preloaded_check() == 0);
}

/* atfork handlers that allocate, registered before the library had a chance to register any, and at
 * every later point. Handlers registered first run their prepare part last, when the library has
 * already made itself ready for the fork. */
static atomic_int handler_runs;
static bool handlers_on;
static void *between;

static void in_handler(void)
{
    if (!handlers_on)
        return;
    bout((uint64_t)atomic_fetch_add(&handler_runs, 1), 200);
    v_free(between);
    between = v_malloc(5000);
    CHECK(between != NULL);
}

static void register_handlers(void)
{
    CHECK(pthread_atfork(in_handler, in_handler, in_handler) == 0);
}

static void before_everything(int argc, char **argv, char **envp)
{
    (void)envp;
    if (argc > 1 && strcmp(argv[1], "atfork") == 0)
        register_handlers();
}

__attribute__((section(".preinit_array"),
               used)) static void (*const preinit_entry)(int, char **, char **) = before_everything;

__attribute__((constructor)) static void at_construction(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "atfork") == 0)
        register_handlers();
}

static void atfork_handlers(void)
{
    register_handlers();
    bout(1, 300);
    register_handlers();
    for (int with_threads = 0; with_threads < 2; with_threads++) {
        if (with_threads) {
            start_workers();
            register_handlers();
        }
        for (int i = 0; i < 40; i++) {
            handlers_on = true;
            pid_t pid = checked_fork();
            if (pid == 0) {
                CHECK(atomic_load(&handler_runs) > 0);
                bout(2, 300);
                _exit(0);
            }
            handlers_on = false;
            expect_exit(pid, "atfork");
        }
    }
    stop_workers();
    CHECK(atomic_load(&handler_runs) >= 4 * 2 * 40);
}

/* fork in a signal handler that interrupted plain code: the child may do all. */
static void fork_and_work(int number)
{
    (void)number;
    int kept = errno;
    pid_t pid = checked_fork();
    if (pid == 0) {
        bout(3, 300);
        _exit(0);
    }
    expect_exit(pid, "fork in a handler");
    errno = kept;
}

static void signal_plain(void)
{
    CHECK(signal(SIGUSR1, fork_and_work) != SIG_ERR);
    for (int i = 0; i < 30; i++) {
        bout((uint64_t)i, 100);
        CHECK(raise(SIGUSR1) == 0);
    }
    start_workers();
    for (int i = 0; i < 30; i++) {
        bout((uint64_t)i, 100);
        CHECK(raise(SIGUSR1) == 0);
    }
    stop_workers();
}

/* fork in a handler that interrupts whatever the only thread does, malloc included: POSIX.1-2017
 * lists fork among the functions a handler may call, and with glibc's malloc it works.  The child
 * only ends. */
static volatile sig_atomic_t forks_done;

static void fork_and_exit(int number)
{
    (void)number;
    int kept = errno;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK(pid > 0);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(status == 0);
    forks_done = forks_done + 1;
    errno = kept;
}

static void signal_anywhere(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = fork_and_exit;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGVTALRM, &action, NULL) == 0);
    struct itimerval timer = {{0, 4000}, {0, 4000}};
    CHECK(setitimer(ITIMER_VIRTUAL, &timer, NULL) == 0);
    for (uint64_t i = 0; forks_done < 200; i++)
        bout(i, 500);
    memset(&timer, 0, sizeof timer);
    CHECK(setitimer(ITIMER_VIRTUAL, &timer, NULL) == 0);
    CHECK(test_preloaded_check() == 0);
}

/* vfork, posix_spawn, popen and system, while other threads allocate. */
static void others(void)
{
    start_workers();
    char *const arguments[] = {(char *)(uintptr_t) "true", NULL};
    for (int i = 0; i < 40; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execv("/bin/true", arguments);
            _exit(127);
        }
        CHECK(pid > 0);
        expect_exit(pid, "vfork");
        bout((uint64_t)i, 50);
        CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0);
        expect_exit(pid, "posix_spawn");
        bout((uint64_t)i, 50);
        if (i % 4 != 0)
            continue;
        FILE *pipe_stream = popen("echo from a pipe", "r");
        CHECK(pipe_stream != NULL);
        char line[64] = "";
        CHECK(fgets(line, sizeof line, pipe_stream) != NULL);
        CHECK(strcmp(line, "from a pipe\n") == 0);
        CHECK(pclose(pipe_stream) == 0);
        CHECK(system("exit 0") == 0);
    }
    stop_workers();
}

/* A child that goes on as a program of its own, with threads, and ends by exit. */
static void child_lives_on(void)
{
    start_workers();
    for (int i = 0; i < 10; i++) {
        pid_t pid = checked_fork();
        if (pid == 0) {
            pthread_t threads[4];
            for (size_t j = 0; j < TEST_COUNT(threads); j++)
                threads[j] = test_thread(one_bout, (void *)j);
            for (size_t j = 0; j < TEST_COUNT(threads); j++)
                test_join(threads[j]);
            for (uint64_t j = 0; j < 50; j++)
                bout(j, 300);
            exit(test_preloaded_check() == 0 ? 0 : 1);
        }
        expect_exit(pid, "child with threads");
    }
    stop_workers();
}

int main(int argc, char **argv)
{
    static const test_case_t cases[] = {
        {"storm", storm, 0},
        {"from_threads", from_threads, 0},
        {"stdio_streams", stdio_streams, 0},
        {"stdio_flush_all", stdio_flush_all, 0},
        {"join_with_stream", join_with_stream, 0},
        {"atfork", atfork_handlers, 0},
        {"signal_plain", signal_plain, 0},
        {"signal_anywhere", signal_anywhere, 0},
        {"vfork_spawn_popen", others, 0},
        {"child_lives_on", child_lives_on, 0},
    };
    test_require_preload();
    return test_cases(argc, argv, cases, TEST_COUNT(cases), HANG_SECONDS);
}
