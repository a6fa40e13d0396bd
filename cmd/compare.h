/*
 * HAKMEM's command: one program, run on the system's allocator and on HAKMEM.
 */
#ifndef CMD_COMPARE_H
#define CMD_COMPARE_H

/* What to run. */
typedef struct compare_plan {
    const char *path;    /* the program's file */
    char **arguments;    /* argv of it, NULL at the end */
    const char *preload; /* LD_PRELOAD with HAKMEM in it */
    int runs;            /* timed runs on each allocator, 1 to COMPARE_MAX_RUNS */
    int show_output;     /* 0: the program's standard output goes nowhere */
} compare_plan_t;

enum { COMPARE_MAX_RUNS = 100 };

/* Runs the plan and prints the table and HAKMEM's own report to standard output.
 * Returns 0, or the status (128 + the signal) of the first run that failed. */
int compare_run(const compare_plan_t *plan);

#endif
