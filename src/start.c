/*
 * start: what the library does when it is loaded and when the process ends.  Nothing waits for it: the first malloc needs no
 * constructor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <hakmem/hakmem.h>
#include <pthread.h>
#include <unistd.h>

#include "canary.h"
#include "control.h"
#include "decay.h"
#include "fault.h"
#include "guard.h"
#include "housekeeper.h"
#include "log.h"
#include "options.h"
#include "os.h"
#include "path.h"

/* One block in so many at level 2, if nothing else was asked for. */
enum { HARDENED_SAMPLE = 1024 };

static void fork_child(void)
{
    hk_thread_fork_child();
    hk_housekeeper_forget();
}

/* Registered early, so that prepare runs after the program's own handlers and the others before them. */
__attribute__((constructor(101))) static void start(void)
{
    hk_options_read(environ);
    hk_decay_start(hk_os_clock_ms());
    if (hk_options.harden != 0) {
        hk_canary_start(hk_options.harden);
        hk_thread_harden();
    }
    hk_control_start();
    bool strict = hk_options.harden >= 2;
    bool asked = hk_options.guard_sample != 0;
    if (strict && !asked) {
        hk_options.guard_sample = HARDENED_SAMPLE;
    }
    if (hk_options.guard_sample != 0) {
        hk_guard_start(hk_options.guard_sample, strict, asked);
        /* What was allocated so far left blocks in the cache, which nobody would sample. */
        (void)hk_path_trim(SIZE_MAX);
    }
    if (hk_options.harden != 0 || hk_options.guard_sample != 0) {
        hk_fault_start();
    }
    if (pthread_atfork(hk_thread_fork_prepare, hk_thread_fork_parent, fork_child) != 0) {
        hk_log_warning("no memory for the fork handlers:", "forking with threads is not safe");
    }
}

/* Puts the process id for %p. */
static void expand_path(char *path, size_t path_bytes, const char *pattern)
{
    hk_line_t line = {0};
    for (; *pattern != '\0' && line.length < path_bytes - 1; pattern++) {
        if (pattern[0] == '%' && pattern[1] == 'p') {
            hk_line_number(&line, (uint64_t)getpid());
            pattern++;
        } else {
            line.text[line.length++] = *pattern;
        }
    }
    for (size_t i = 0; i < line.length; i++) {
        path[i] = line.text[i];
    }
    path[line.length] = '\0';
}

static void print_report(void)
{
    int fd = STDERR_FILENO;
    char path[HK_LINE_BYTES];
    if (hk_options.stats_file != NULL) {
        expand_path(path, sizeof path - 24, hk_options.stats_file);
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) {
            hk_log_warning("cannot write the report to", path);
            return;
        }
    }
    (void)(hk_options.stats_json != 0 ? hak_stats_json(fd) : hak_stats_print(fd));
    if (fd != STDERR_FILENO) {
        (void)close(fd);
    }
}

/* The last destructor: finds the bad frees that still lie in this thread's cache.  If a signal handler calls exit, the thread may hold a
 * lock, and nothing more is done. */
__attribute__((destructor(101))) static void finish(void)
{
    int saved = errno;
    if (hk_thread_is_inside()) {
        if (hk_options.stats != 0) {
            hk_log_warning("no report:",
                           "a signal handler ended the process inside malloc or free");
        }
        return;
    }
    if (hk_options.stats != 0) {
        print_report();
    }
    hk_path_finish();
    errno = saved;
}
