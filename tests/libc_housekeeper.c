/*
 * The housekeeper thread under HAKMEM_HOUSEKEEPER=1: a process that does nothing gives its memory
 * back; and the thread gets in the way of nothing: signals, fork, exit, the end of the first
 * thread.
 *
 * Each case runs in a process of its own.
 */
#include "test.h"

#include <dirent.h>
#include <signal.h>

enum { WORKERS = 4, BLOCKS = 400000, IDLE_SECONDS = 13, HANG_SECONDS = 60 };

static void pause_ms(unsigned ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&wait, &wait) != 0)
        CHECK(errno == EINTR);
}

/* Reads a file of /proc into text. */
static void read_file(const char *path, char *text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, bytes - 1) : 0;
    text[got > 0 ? got : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

/* The number of the thread named "hakmem"; 0 if there is none.  *threads becomes the number of
 * all. */
static int find_housekeeper(int *threads)
{
    char path[300], text[64];
    int found = 0;
    *threads = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.')
            continue;
        ++*threads;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        read_file(path, text, sizeof text);
        if (strcmp(text, "hakmem\n") == 0) {
            CHECK(found == 0); /* never two */
            found = atoi(task->d_name);
        }
    }
    closedir(tasks);
    return found;
}

/* Enough slow paths that the thread is started: more blocks than caches hold. */
static void work_a_little(void)
{
    static void *held[20000];
    for (size_t i = 0; i < TEST_COUNT(held); i++)
        CHECK((held[i] = malloc(64 + i % 4)) != NULL);
    for (size_t i = 0; i < TEST_COUNT(held); i++)
        free(held[i]);
}

/* The thread's name is its own first act: it may take a moment. */
static int await_housekeeper(void)
{
    int threads, found = 0;
    work_a_little();
    for (int i = 0; i < 500 && found == 0; i++) {
        found = find_housekeeper(&threads);
        pause_ms(10);
    }
    CHECK(found != 0);
    return found;
}

static pthread_barrier_t barrier;
static void *blocks[WORKERS][BLOCKS];

/* About 77 MiB of mixed sizes; then idle. */
static void *allocate_and_idle(void *argument)
{
    size_t number = (size_t)(uintptr_t)argument;
    test_rng_t rng = test_rng(number);
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = 16 + test_below(&rng, 376);
        blocks[number][i] = malloc(size);
        CHECK(blocks[number][i] != NULL);
        memset(blocks[number][i], 1, size);
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* The worst case for an allocator: the owners idle, another thread frees all they allocated and
 * idles too. */
static void four_workers(void)
{
    pthread_t threads[WORKERS];
    size_t least = SIZE_MAX, seconds;
    CHECK(pthread_barrier_init(&barrier, NULL, WORKERS + 1) == 0);
    for (uintptr_t i = 0; i < WORKERS; i++)
        threads[i] = test_thread(allocate_and_idle, (void *)i);
    pthread_barrier_wait(&barrier);
    size_t peak = test_rss_bytes();
    CHECKF(peak > 300 * MIB, " (%zu KiB)", peak / KIB);
    for (size_t i = 0; i < WORKERS; i++)
        for (size_t block = 0; block < BLOCKS; block++)
            free(blocks[i][block]);
    memset(blocks, 0, sizeof blocks);
    size_t own = sizeof blocks; /* the table above is not HAKMEM's */
    for (seconds = 0; seconds < IDLE_SECONDS && least > 20 * MIB; seconds++) {
        pause_ms(1000);
        size_t rss = test_rss_bytes();
        least = rss - own < least ? rss - own : least;
    }
    printf("peak %zu MiB, %zu MiB after %zu s; ", (peak - own) / MIB, least / MIB, seconds);
    CHECKF(least <= 20 * MIB, " (%zu KiB)", least / KIB);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < WORKERS; i++)
        test_join(threads[i]);
    CHECK(test_preloaded_check() == 0);
}

/* A large block goes back as well. */
static void large_blocks(void)
{
    (void)await_housekeeper();
    size_t before = test_rss_bytes();
    free(memset(malloc(60 * MIB), 1, 60 * MIB));
    size_t rss = SIZE_MAX;
    for (int seconds = 0; seconds < IDLE_SECONDS && rss > before + 4 * MIB; seconds++) {
        pause_ms(1000);
        rss = test_rss_bytes();
    }
    CHECKF(rss <= before + 4 * MIB, " (%zu KiB)", rss / KIB);
}

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    (void)number;
    signalled++;
}

/* It blocks what a thread can block, so that the program's handlers never run in it. */
static void signals(void)
{
    char path[64], text[4096];
    int thread = await_housekeeper();
    snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
    read_file(path, text, sizeof text);
    const char *line = strstr(text, "SigBlk:");
    CHECK(line != NULL);
    uint64_t blocked = strtoull(line + 7, NULL, 16);
    for (int number = 1; number < 32; number++) {
        bool can_be = number != SIGKILL && number != SIGSTOP;
        CHECKF(!can_be || (blocked >> (number - 1) & 1) != 0, " (signal %d)", number);
    }
    sigset_t mine;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mine) == 0 && sigismember(&mine, SIGUSR1) == 0);
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(signalled == 100); /* in this thread, at once */
}

/* The child has none, and one again once it works; both go on. */
static void forks(void)
{
    (void)await_housekeeper();
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            int threads;
            CHECK(find_housekeeper(&threads) == 0 && threads == 1);
            free(malloc(100));
            if (i % 10 == 0) {
                (void)await_housekeeper();
                CHECK(find_housekeeper(&threads) != 0 && threads == 2);
                CHECK(test_preloaded_check() == 0);
            }
            _exit(0);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    (void)await_housekeeper();
    CHECK(test_preloaded_check() == 0);
}

static void at_exit(void)
{
    free(memset(malloc(100000), 1, 100000));
}

static void exits(void)
{
    (void)await_housekeeper();
    CHECK(atexit(at_exit) == 0);
    exit(7);
}

/* The first thread ends, and nobody but the housekeeper is left: the process ends, with status
 * 0. */
static void main_ends(void)
{
    (void)await_housekeeper();
    pthread_exit(NULL);
}

static void *outlive(void *argument)
{
    pause_ms(3000);
    int threads;
    CHECK(find_housekeeper(&threads) != 0);
    return argument;
}

/* While another one is, it stays. */
static void main_ends_first(void)
{
    (void)await_housekeeper();
    CHECK(pthread_detach(test_thread(outlive, NULL)) == 0);
    pthread_exit(NULL);
}

/* Without the option there is none. */
static void off(void)
{
    int threads;
    work_a_little();
    CHECK(find_housekeeper(&threads) == 0 && threads == 1);
}

int main(int argc, char **argv)
{
    static const test_case_t cases[] = {
        {"four_workers", four_workers, 0},
        {"large_blocks", large_blocks, 0},
        {"signals", signals, 0},
        {"forks", forks, 0},
        {"exits", exits, 7},
        {"main_ends", main_ends, 0},
        {"main_ends_first", main_ends_first, 0},
    };
    static const test_case_t without[] = {{"off", off, 0}};
    static const test_case_t slow[] = {{"main_ends", main_ends, 0}};
    test_require_preload();
    if (argc > 1 && strcmp(argv[1], "off") == 0)
        return test_cases(argc, argv, without, 1, HANG_SECONDS);
    if (argc > 1)
        return test_cases(argc, argv, cases, TEST_COUNT(cases), HANG_SECONDS);
    int failures = test_cases(argc, argv, without, 1, HANG_SECONDS);
    CHECK(setenv("HAKMEM_HOUSEKEEPER", "1", 1) == 0);
    failures |= test_cases(argc, argv, cases, TEST_COUNT(cases), HANG_SECONDS);
    CHECK(setenv("HAKMEM_DECAY", "3600000", 1) == 0); /* rounds two hours apart */
    return failures | test_cases(argc, argv, slow, TEST_COUNT(slow), HANG_SECONDS);
}
