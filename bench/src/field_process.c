/*
 * field_process: fork, start-up, address space, and what a library asks of whoever loads it.
 *
 * Children are always waited for with a limit: a child that hangs is a finding.
 */
#include "field.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

/* Waits up to `seconds`; the wait status, or -1 after killing a child that hangs. */
static int wait_or_kill(pid_t pid, double seconds)
{
    int status;
    double start = bench_now();
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (bench_now() - start > seconds) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        bench_sleep(50e-6);
    }
    return status;
}

static const char *outcome(int status)
{
    static char text[40];
    if (status == -1)
        return "hang";
    if (WIFSIGNALED(status))
        return strsignal(WTERMSIG(status));
    snprintf(text, sizeof text, "exit %d", WEXITSTATUS(status));
    return WEXITSTATUS(status) == 0 ? "ok" : text;
}

/* ---- fork storm ---- */

static atomic_bool stop;

static void *busy_main(void *argument)
{
    enum { SLOTS = 512 };
    static _Thread_local void *slot[SLOTS];
    uint32_t seed = (uint32_t)(uintptr_t)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint32_t r = bench_next(&seed);
        void **at = &slot[r % SLOTS];
        free(bench_keep(*at));
        *at = bench_some(malloc(16 + (r >> 16) % 3000));
    }
    for (int i = 0; i < SLOTS; i++)
        free(slot[i]);
    return NULL;
}

_Noreturn static void child_main(uint32_t seed)
{
    enum { SLOTS = 200 };
    void *slot[SLOTS];
    for (int i = 0; i < SLOTS; i++)
        slot[i] = bench_some(malloc(16 + bench_next(&seed) % 40000));
    for (int i = 0; i < SLOTS; i++)
        free(bench_keep(slot[i]));
    _exit(0);
}

/*
 * A server that forks workers while its threads allocate, for 20 s at most.  forks: how many it
 * made; hung: children that never ended.
 */
void field_fork_storm(const char *forks)
{
    enum { THREADS = 3, SECONDS_MAX = 20 };
    pthread_t thread[THREADS];
    long wanted = field_number(forks, 300), made = 0, hung = 0, failed = 0;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, busy_main, (void *)(uintptr_t)(i + 1)) != 0)
            bench_die("pthread_create failed");
    double start = bench_now();
    for (; made < wanted && bench_now() - start < SECONDS_MAX; made++) {
        pid_t pid = fork();
        if (pid == 0)
            child_main((uint32_t)made + 1);
        int status = pid < 0 ? 1 : wait_or_kill(pid, 5);
        hung += status == -1;
        failed += status > 0;
    }
    double elapsed = bench_now() - start;
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    printf("forks=%ld hung=%ld failed=%ld us_per_fork=%.0f\n", made, hung, failed,
           elapsed * 1e6 / (double)made);
}

/* ---- a trivial program ---- */

void field_trivial(const char *unused)
{
    (void)unused;
    *(char *)bench_some(malloc(100)) = 1;
    printf("vmsize_mib=%.1f rss_mib=%.2f\n", (double)bench_status_kib("VmSize:") / KIB,
           (double)bench_status_kib("VmRSS:") / KIB);
}

/* The trivial program under ulimit -v, as containers and batch systems set it. */
void field_limit(const char *mib)
{
    long limit = field_number(mib, 64);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit size = {(rlim_t)limit * MIB, (rlim_t)limit * MIB};
        freopen("/dev/null", "w", stdout);
        freopen("/dev/null", "w", stderr);
        setrlimit(RLIMIT_AS, &size);
        execl("/proc/self/exe", "field", "trivial", (char *)NULL);
        _exit(127);
    }
    printf("limit_mib=%ld result=\"%s\"\n", limit, outcome(wait_or_kill(pid, 10)));
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Scripts and build systems start thousands of tiny programs.  Median and lowest of the starts. */
void field_startup(const char *starts)
{
    size_t n = (size_t)field_number(starts, 500);
    double *us = bench_table(n * sizeof *us);
    for (size_t i = 0; i < n; i++) {
        char *argv[] = {"true", NULL};
        pid_t pid;
        int status;
        double start = bench_now();
        if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) != 0 ||
            waitpid(pid, &status, 0) != pid)
            bench_die("/bin/true cannot be started");
        us[i] = (bench_now() - start) * 1e6;
        if (status != 0)
            bench_die("/bin/true failed");
    }
    qsort(us, n, sizeof *us, compare_doubles);
    printf("median_us=%.0f lowest_us=%.0f starts=%zu\n", us[n / 2], us[0], n);
}

/* ---- what a library asks of its loader ---- */

/* The size of the file's TLS segment; -1 when it is no 64-bit ELF file. */
static long tls_bytes(const char *path)
{
    Elf64_Ehdr head;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    long bytes = -1;
    if (fd >= 0 && read(fd, &head, sizeof head) == (ssize_t)sizeof head &&
        memcmp(head.e_ident, ELFMAG, SELFMAG) == 0 && head.e_ident[EI_CLASS] == ELFCLASS64) {
        bytes = 0;
        for (int i = 0; i < head.e_phnum; i++) {
            Elf64_Phdr segment;
            off_t at = (off_t)(head.e_phoff + (size_t)i * sizeof segment);
            if (pread(fd, &segment, sizeof segment, at) == (ssize_t)sizeof segment &&
                segment.p_type == PT_TLS)
                bytes = (long)segment.p_memsz;
        }
    }
    if (fd >= 0)
        close(fd);
    return bytes;
}

/* Run without preload: a plugin host that loads the library late. */
void field_library(const char *path)
{
    if (!path)
        bench_die("library wants a path");
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *error = handle ? "" : dlerror();
    const char *tls = error ? strstr(error, "static TLS") : NULL;
    printf("tls_bytes=%ld dlopen=\"%s\"\n", tls_bytes(path),
           handle ? "ok"
           : tls  ? "no room in static TLS"
                  : error);
}

/* ---- bad frees ---- */

_Noreturn static void double_free_child(void)
{
    void *p = malloc(32);
    free(bench_keep(p));
    free(bench_keep(p));
    void *a = bench_keep(malloc(32)), *b = bench_keep(malloc(32));
    _exit(a == b ? 10 : 11);
}

_Noreturn static void free_stack_child(void)
{
    char block[256] = {0};
    free(bench_keep(block + 64));
    _exit(11);
}

/* Runs the child; prints how it ended and whether it said something first. */
static void bad_free(void (*child)(void))
{
    int pipe_ends[2];
    char said[200] = "";
    if (pipe(pipe_ends) != 0)
        bench_die("pipe failed");
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(pipe_ends[1], STDERR_FILENO);
        child();
    }
    close(pipe_ends[1]);
    int status = wait_or_kill(pid, 10);
    ssize_t n = read(pipe_ends[0], said, sizeof said - 1);
    const char *result = outcome(status);
    if (status != -1 && WIFEXITED(status))
        result = WEXITSTATUS(status) == 10 ? "silent alias" : "not seen";
    printf("result=\"%s\" message=%s\n", result, n > 0 ? "yes" : "no");
}

void field_double_free(const char *unused)
{
    (void)unused;
    bad_free(double_free_child);
}

void field_free_stack(const char *unused)
{
    (void)unused;
    bad_free(free_stack_child);
}
