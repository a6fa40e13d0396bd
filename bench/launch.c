/*
 * launch: starts one benchmarked program under one allocator and measures it.
 *
 * usage: launch REPORT LIBRARY|- COMMAND [ARG...]
 *
 * Stands between the Python runner and the program for one reason: Linux counts the memory of the
 * process that called exec into ru_maxrss, so a program started from Python directly could never
 * show less than Python's own size.  This process is small.  LIBRARY becomes LD_PRELOAD of the
 * program only.  Writes one line to the file REPORT: pid at the start, then on the next line
 * wall_s user_s sys_s maxrss_kib exit_code signal.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: launch REPORT LIBRARY|- COMMAND [ARG...]\n");
        return 2;
    }
    FILE *report = fopen(argv[1], "we");
    if (!report) {
        perror(argv[1]);
        return 2;
    }
    double start = now();
    pid_t pid = fork();
    if (pid == 0) {
        if (strcmp(argv[2], "-") != 0)
            setenv("LD_PRELOAD", argv[2], 1);
        execvp(argv[3], argv + 3);
        perror(argv[3]);
        _exit(127);
    }
    fprintf(report, "%d\n", (int)pid);
    fflush(report);
    int status = 0;
    struct rusage use;
    if (pid < 0 || wait4(pid, &status, 0, &use) != pid) {
        perror("launch");
        return 2;
    }
    double wall = now() - start;
    fprintf(report, "%.6f %.6f %.6f %ld %d %d\n", wall, seconds(use.ru_utime),
            seconds(use.ru_stime), use.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
            WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return fclose(report) == 0 ? 0 : 2;
}
