/*
 * HAKMEM's command: one program, run on the system's allocator and on HAKMEM.
 *
 * One run on HAKMEM comes first and is not timed: it writes HAKMEM's report, and it brings the
 * program's files into memory, so that neither side is measured on a cold disk.  The timed runs
 * alternate, so that whatever else the machine does falls on both sides alike.  Medians are shown,
 * and the range beside them, so that noise can be seen.
 *
 * Peak memory is the kernel's figure for the largest single process of a run.
 */
#include "compare.h"

#include "preflight.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ON_SYSTEM, ON_HAKMEM, SIDES };
enum { WALL, CPU, PEAK, FIGURES };

static const struct {
    const char *name;
    int decimals;
} figures[FIGURES] = {
    [WALL] = {"wall time, s", 3},
    [CPU] = {"user+sys, s", 3},
    [PEAK] = {"peak RSS, MiB", 1},
};

typedef struct sample {
    double value[FIGURES];
    int end; /* as wait has it */
    pid_t pid;
} sample_t;

typedef struct failures {
    int status; /* of the run that failed first, 128 + the signal; 0: none failed */
    bool is_noted[SIDES];
} failures_t;

/* ---- Being told to end ---- */

static const int end_signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};

static volatile pid_t running;              /* the program; 0: none */
static volatile sig_atomic_t ending_signal; /* that this command was sent; 0: none */

/* What the terminal's keys send goes to the program as well, whose end we see. */
static void on_end_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    bool is_key = info->si_code > 0 && number != SIGHUP;
    if (!is_key) {
        ending_signal = number;
        if (running > 0)
            kill(running, number);
    }
    errno = saved;
}

/* What was ignored stays so, here and in the program. */
static void catch_end_signals(void)
{
    struct sigaction catch = {.sa_sigaction = on_end_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (size_t i = 0; i < sizeof end_signals / sizeof end_signals[0]; i++) {
        struct sigaction old;
        sigaction(end_signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN)
            sigaction(end_signals[i], &catch, NULL);
    }
}

/* Between fork and what follows it in both processes none may come: the child would take it for
 * this command's.  Returns the mask from before. */
static sigset_t block_end_signals(void)
{
    sigset_t blocked, before;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof end_signals / sizeof end_signals[0]; i++)
        sigaddset(&blocked, end_signals[i]);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    return before;
}

/* In the child: it ends by them, unless they were ignored. */
static void restore_end_signals(const sigset_t *mask)
{
    for (size_t i = 0; i < sizeof end_signals / sizeof end_signals[0]; i++) {
        struct sigaction old;
        sigaction(end_signals[i], NULL, &old);
        if (old.sa_handler != SIG_IGN)
            signal(end_signals[i], SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
}

/* ---- One run ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static _Noreturn void become_program(const compare_plan_t *plan, int side, const char *report)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    if (!plan->show_output)
        dup2(null, STDOUT_FILENO);
    if (side == ON_HAKMEM)
        setenv("LD_PRELOAD", plan->preload, 1);
    if (report) {
        setenv("HAKMEM_STATS", "1", 1);
        setenv("HAKMEM_STATS_FILE", report, 1);
    }
    execvp(plan->path, plan->arguments);
    int status = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
    warn("%s", plan->path);
    _exit(status);
}

/* report: where HAKMEM writes its report, or NULL for none. */
static sample_t run_once(const compare_plan_t *plan, int side, const char *report)
{
    fflush(NULL);
    double start = now();
    sigset_t mask = block_end_signals();
    pid_t pid = fork();
    if (pid < 0)
        err(STATUS_CANNOT_PRELOAD, "fork");
    if (pid == 0) {
        restore_end_signals(&mask);
        become_program(plan, side, report);
    }
    running = pid;
    if (ending_signal) /* it came when there was no program to be told */
        kill(pid, ending_signal);
    sigprocmask(SIG_SETMASK, &mask, NULL);

    int end;
    struct rusage usage;
    while (wait4(pid, &end, 0, &usage) < 0)
        if (errno != EINTR)
            err(STATUS_CANNOT_PRELOAD, "wait4");
    running = 0;
    return (sample_t){
        .value = {[WALL] = now() - start,
                  [CPU] = seconds(usage.ru_utime) + seconds(usage.ru_stime),
                  [PEAK] = (double)usage.ru_maxrss / 1024},
        .end = end,
        .pid = pid,
    };
}

/* ---- The table ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort_figure(const sample_t *samples, int runs, int figure, double *sorted)
{
    for (int i = 0; i < runs; i++)
        sorted[i] = samples[i].value[figure];
    qsort(sorted, (size_t)runs, sizeof *sorted, by_size);
}

static double median(const double *sorted, int runs)
{
    return (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2;
}

static void print_cell(const double *sorted, int runs, int decimals)
{
    char range[64];
    snprintf(range, sizeof range, "(%.*f..%.*f)", decimals, sorted[0], decimals, sorted[runs - 1]);
    printf("%10.*f %-18s", decimals, median(sorted, runs), range);
}

static void print_table(const compare_plan_t *plan, sample_t samples[SIDES][COMPARE_MAX_RUNS])
{
    printf("\n%-14s%10s %-18s%10s %-18s%10s\n", "", "system", "", "HAKMEM", "", "difference");
    for (int figure = 0; figure < FIGURES; figure++) {
        double system[COMPARE_MAX_RUNS], hakmem[COMPARE_MAX_RUNS];
        sort_figure(samples[ON_SYSTEM], plan->runs, figure, system);
        sort_figure(samples[ON_HAKMEM], plan->runs, figure, hakmem);
        printf("%-14s", figures[figure].name);
        print_cell(system, plan->runs, figures[figure].decimals);
        print_cell(hakmem, plan->runs, figures[figure].decimals);
        double base = median(system, plan->runs);
        if (base > 0)
            printf("%+9.1f%%", (median(hakmem, plan->runs) / base - 1) * 100);
        putchar('\n');
    }
    printf("Median of %d run%s on each side, alternating, and the range; less is better.\n",
           plan->runs, plan->runs == 1 ? "" : "s");
}

/* report: NULL if there is none. */
static void print_report(FILE *report)
{
    if (!report) {
        printf("\nHAKMEM wrote no report: the program did not load it, or did not end by exit.\n");
        return;
    }
    printf("\nHAKMEM's own report, from the run before the timed ones:\n\n");
    char buffer[4096];
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, report)) > 0;)
        fwrite(buffer, 1, got, stdout);
}

/* ---- The whole ---- */

/* Reports would be part of what is timed, and compare has one of its own. */
static void drop_report_options(void)
{
    static const char *const names[] = {"HAKMEM_STATS", "HAKMEM_STATS_FILE", "HAKMEM_STATS_JSON"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (getenv(names[i]))
            warnx("%s has no effect: compare shows HAKMEM's report itself", names[i]);
        unsetenv(names[i]);
    }
}

/* The run that writes the report.  Only the program's own one is kept, not those of processes it
 * started. */
static sample_t run_for_report(const compare_plan_t *plan, char *directory, char **report)
{
    char *pattern;
    if (asprintf(&pattern, "%s/report.%%p", directory) < 0)
        err(STATUS_CANNOT_PRELOAD, "out of memory");
    sample_t sample = run_once(plan, ON_HAKMEM, pattern);
    if (asprintf(report, "%s/report.%ld", directory, (long)sample.pid) < 0)
        err(STATUS_CANNOT_PRELOAD, "out of memory");
    free(pattern);
    return sample;
}

static void remove_directory(const char *directory)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)block_end_signals(); /* rm keeps them blocked */
        execlp("rm", "rm", "-rf", "--", directory, (char *)NULL);
        _exit(1);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

/* Says once for each side how it failed first. */
static void note_failure(failures_t *failures, const sample_t *sample, int side)
{
    if (sample->end == 0 || failures->is_noted[side])
        return;
    int killed = WIFSIGNALED(sample->end);
    int number = killed ? WTERMSIG(sample->end) : WEXITSTATUS(sample->end);
    warnx("the program failed on %s: %s %d",
          side == ON_HAKMEM ? "HAKMEM" : "the system's allocator",
          killed ? "signal" : "exit status", number);
    failures->is_noted[side] = true;
    if (failures->status == 0)
        failures->status = killed ? 128 + number : number;
}

static int is_interrupted(const sample_t *sample)
{
    return ending_signal != 0 || (WIFSIGNALED(sample->end) && (WTERMSIG(sample->end) == SIGINT ||
                                                               WTERMSIG(sample->end) == SIGQUIT));
}

/* Returns whether every run took place. */
static bool run_all(const compare_plan_t *plan, sample_t samples[SIDES][COMPARE_MAX_RUNS],
                    failures_t *failures)
{
    for (int run = 0; run < plan->runs; run++) {
        for (int turn = 0; turn < SIDES; turn++) {
            int side = run % 2 == 0 ? turn : SIDES - 1 - turn;
            samples[side][run] = run_once(plan, side, NULL);
            note_failure(failures, &samples[side][run], side);
            if (is_interrupted(&samples[side][run]))
                return false;
        }
    }
    return true;
}

/* Runs all with a new directory for the report, and leaves nothing of it behind. */
static failures_t run_in_directory(const compare_plan_t *plan, char *directory)
{
    static sample_t samples[SIDES][COMPARE_MAX_RUNS];
    failures_t failures = {0};
    char *path;
    sample_t first = run_for_report(plan, directory, &path);
    note_failure(&failures, &first, ON_HAKMEM);
    bool complete = !is_interrupted(&first) && run_all(plan, samples, &failures);
    FILE *report = fopen(path, "re");
    remove_directory(directory); /* before anything is shown, to whom may not be there any more */
    if (complete) {
        print_table(plan, samples);
        print_report(report);
    }
    if (report)
        fclose(report);
    free(path);
    return failures;
}

int compare_run(const compare_plan_t *plan)
{
    char *directory;
    const char *temporary = getenv("TMPDIR");
    if (asprintf(&directory, "%s/hakmem.XXXXXX", temporary && *temporary ? temporary : "/tmp") < 0)
        err(STATUS_CANNOT_PRELOAD, "out of memory");
    drop_report_options();
    catch_end_signals();
    if (!mkdtemp(directory))
        err(STATUS_CANNOT_PRELOAD, "%s", directory);
    failures_t failures = run_in_directory(plan, directory);
    free(directory);
    if (ending_signal) {
        signal(ending_signal, SIG_DFL);
        raise(ending_signal);
    }
    return failures.status;
}
