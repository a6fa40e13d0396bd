/*
 * launch: starts one benchmarked program under one allocator and measures it.
 *
 * usage: launch REPORT LIBRARY|- CPUS|- COMMAND [ARG...]
 *
 * Stands between the Python runner and the program because Linux counts the memory of the process
 * that called exec into ru_maxrss: a program started from Python directly could never show less
 * than Python's own size.  This process is small.  LIBRARY becomes LD_PRELOAD of the program only;
 * CPUS, as "0,1", what it may run on.
 *
 * Writes the pid to the file REPORT at the start, and at the end a line of name=value pairs:
 * wall_s, user_s and sys_s, maxrss_kib (of the largest process of those that ended), minor and
 * major page faults, exit, signal, last_kib and mean_kib (the program's own RSS, sampled), and
 * series, the samples as milliseconds:KiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 400 };

/* RSS over time; when full, every other sample goes and the step doubles. */
static struct {
    unsigned ms[SAMPLES], kib[SAMPLES];
    unsigned used, step_ms, next_ms;
    double sum_kib;
    unsigned counted;
} samples = {.step_ms = 10};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

static bool pin_to(const char *cpus)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const char *at = cpus;; at++) {
        char *end;
        CPU_SET(strtoul(at, &end, 10), &set);
        if (end == at || (*end != ',' && *end != '\0')) {
            errno = EINVAL;
            return false;
        }
        if (*end == '\0')
            return sched_setaffinity(0, sizeof set, &set) == 0;
        at = end;
    }
}

static unsigned rss_kib(int statm)
{
    char text[100];
    ssize_t n = pread(statm, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    const char *second = strchr(text, ' ');
    return second ? (unsigned)(atol(second) * (sysconf(_SC_PAGESIZE) / 1024)) : 0;
}

static void sample(int statm, unsigned ms)
{
    unsigned kib = rss_kib(statm);
    if (kib == 0 || ms < samples.next_ms) /* 0: the program has given up its memory and ends */
        return;
    samples.sum_kib += kib;
    samples.counted++;
    if (samples.used == SAMPLES) {
        for (unsigned i = 0; i < SAMPLES / 2; i++) {
            samples.ms[i] = samples.ms[2 * i];
            samples.kib[i] = samples.kib[2 * i];
        }
        samples.used = SAMPLES / 2;
        samples.step_ms *= 2;
    }
    samples.ms[samples.used] = ms;
    samples.kib[samples.used++] = kib;
    samples.next_ms = ms + samples.step_ms;
}

/* Waits for pid and samples meanwhile; the wait status, or -1. */
static int watch(pid_t pid, const sigset_t *child_signal, double start, struct rusage *use)
{
    char path[40];
    int status;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int statm = open(path, O_RDONLY | O_CLOEXEC);
    for (;;) {
        pid_t ended = wait4(pid, &status, WNOHANG, use);
        if (ended != 0)
            return ended == pid ? status : -1;
        sample(statm, (unsigned)((now() - start) * 1e3));
        struct timespec step = {0, (long)samples.step_ms * 1000000};
        sigtimedwait(child_signal, NULL, &step);
    }
}

static void write_report(FILE *to, double wall, int status, const struct rusage *use)
{
    fprintf(to, "wall_s=%.6f user_s=%.6f sys_s=%.6f maxrss_kib=%ld minor=%ld major=%ld", wall,
            seconds(use->ru_utime), seconds(use->ru_stime), use->ru_maxrss, use->ru_minflt,
            use->ru_majflt);
    fprintf(to, " exit=%d signal=%d", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    if (samples.used)
        fprintf(to, " last_kib=%u mean_kib=%.0f", samples.kib[samples.used - 1],
                samples.sum_kib / samples.counted);
    for (unsigned i = 0; i < samples.used; i++)
        fprintf(to, "%s%u:%u", i ? "," : " series=", samples.ms[i], samples.kib[i]);
    fprintf(to, "\n");
}

_Noreturn static void become(char **argv, const char *library, const sigset_t *mask)
{
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (strcmp(library, "-") != 0)
        setenv("LD_PRELOAD", library, 1);
    execvp(argv[0], argv);
    perror(argv[0]);
    _exit(127);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: launch REPORT LIBRARY|- CPUS|- COMMAND [ARG...]\n");
        return 2;
    }
    FILE *report = fopen(argv[1], "we");
    if (!report) {
        perror(argv[1]);
        return 2;
    }
    sigset_t child_signal, before;
    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, &before);
    if (strcmp(argv[3], "-") != 0 && !pin_to(argv[3])) {
        fprintf(stderr, "launch: CPUs %s: %s\n", argv[3], strerror(errno));
        return 2;
    }
    double start = now();
    pid_t pid = fork();
    if (pid == 0)
        become(argv + 4, argv[2], &before);
    fprintf(report, "%d\n", (int)pid);
    fflush(report);
    struct rusage use;
    int status = pid < 0 ? -1 : watch(pid, &child_signal, start, &use);
    if (status == -1) {
        perror("launch");
        return 2;
    }
    write_report(report, now() - start, status, &use);
    return fclose(report) == 0 ? 0 : 2;
}
