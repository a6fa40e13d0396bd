/*
 * start: what the library does when it is loaded and when the process ends.  No malloc depends on
 * it: the first one needs no constructor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <hakmem/hakmem.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
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
#include "peak.h"
#include "reclaim.h"

/* One block in so many at level 2, if nothing else was asked for. */
enum { HARDENED_SAMPLE = 1024 };

/* Which file a descriptor is. */
typedef struct file {
    int error; /* errno, if it could not be seen: then the rest is 0 */
    dev_t device;
    ino_t inode;
} file_t;

static file_t first_stderr; /* only of use where the report goes there */

static file_t see_stderr(void)
{
    struct stat info;
    if (fstat(STDERR_FILENO, &info) != 0) {
        return (file_t){.error = errno};
    }
    return (file_t){.device = info.st_dev, .inode = info.st_ino};
}

static bool reports_to_stderr(void)
{
    return hk_options.stats != 0 && hk_options.stats_file == NULL;
}

/* A program may have closed it, and then its next file, with its data, has the number.  Where a
 * sandbox keeps us from seeing, it counts as the same. */
static bool is_same_stderr(void)
{
    file_t now = see_stderr();
    bool is_refused = (first_stderr.error != 0 && first_stderr.error != EBADF) ||
                      (now.error != 0 && now.error != EBADF);
    return is_refused || (first_stderr.error == now.error && first_stderr.device == now.device &&
                          first_stderr.inode == now.inode);
}

static void fork_child(void)
{
    hk_reclaim_reset_lock();
    hk_housekeeper_forget();
}

static void prepare(const hk_options_t *read)
{
    if (read->harden != 0) {
        hk_canary_start(read->harden);
    }
}

/* Runs early, so that HAKMEM's fork handlers are registered before the program's: its prepare
 * handler then runs after theirs, and its other two before theirs. */
__attribute__((constructor(101))) static void start(void)
{
    hk_options_read(environ, prepare);
    if (reports_to_stderr()) {
        first_stderr = see_stderr();
    }
    (void)hk_thread_make_key(); /* without one, the first thread that needs it tries again */
    uint64_t now_ms = hk_os_clock_ms();
    hk_decay_start(now_ms);
    hk_peak_start(now_ms);
    if (hk_options.harden != 0) {
        hk_thread_harden();
    }
    hk_housekeeper_set_chore(hk_path_replay_uncached);
    hk_control_start();
    bool strict = hk_options.harden >= 2;
    bool asked = hk_options.guard_sample != 0;
    if (strict && !asked) {
        hk_options.guard_sample = HARDENED_SAMPLE;
    }
    if (hk_options.guard_sample != 0) {
        hk_guard_start(hk_options.guard_sample, strict, asked);
        /* Earlier allocations left blocks in the cache, which would never be sampled. */
        (void)hk_path_trim(SIZE_MAX);
    }
    if (hk_options.harden != 0 || hk_options.guard_sample != 0) {
        hk_fault_start();
    }
    hk_thread_set_chore(fork_child);
    if (!hk_thread_watch_forks()) {
        hk_log_warning("no memory for the fork handlers:", "forking with threads is not safe");
    }
}

/* Replaces %p by the process id; false if the path becomes too long. */
static bool expand_path(char *path, size_t path_bytes, const char *pattern)
{
    hk_line_t id = {0};
    hk_line_number(&id, (uint64_t)getpid());
    size_t length = 0;
    while (*pattern != '\0') {
        bool is_id = pattern[0] == '%' && pattern[1] == 'p';
        const char *part = is_id ? id.text : pattern;
        size_t part_bytes = is_id ? id.length : 1;
        if (part_bytes >= path_bytes - length) {
            return false;
        }
        memcpy(path + length, part, part_bytes);
        length += part_bytes;
        pattern += is_id ? 2 : 1;
    }
    path[length] = '\0';
    return true;
}

/* Does not wait for somebody to open a FIFO for reading, so that a process which is to end does
 * end. But if a reader has it open and it is full, the write waits, as at standard error. */
static int open_report(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFL, O_APPEND); /* refused: a pipe that is full loses the report */
    }
    return fd;
}

/* Prints the report to the path, or to standard error if that is NULL; returns 0 or errno. */
static int print_report(const char *path)
{
    int fd = path == NULL ? STDERR_FILENO : open_report(path);
    if (fd < 0) {
        return errno;
    }
    int error = hk_options.stats_json != 0 ? hak_stats_json(fd) : hak_stats_print(fd);
    if (path != NULL && close(fd) != 0) {
        error = errno;
    }
    return error;
}

/* open and close are cancellation points: a thread that is to be cancelled, and calls exit before,
 * must not leave in the middle. */
static void report_at_end(void)
{
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    char path[HK_OPTION_TEXT_BYTES];
    const char *pattern = hk_options.stats_file;
    if (pattern != NULL && !expand_path(path, sizeof path, pattern)) {
        hk_log_warning("the path of the report is too long:", pattern);
        return;
    }
    int error = print_report(pattern != NULL ? path : NULL);
    if (error != 0) {
        hk_line_t what = {0}; /* the number first: a long path is cut */
        hk_line_text(&what, "error ");
        hk_line_number(&what, (uint64_t)error);
        hk_line_text(&what, ": cannot write the report to");
        hk_log_warning(hk_line_end(&what), pattern != NULL ? path : "stderr");
    }
}

/* The last destructor: finds the bad frees that still lie in this thread's cache.  If a signal
 * handler calls exit, the thread may hold a lock, and nothing more is done. */
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
    if (hk_options.stats != 0 && (!reports_to_stderr() || is_same_stderr())) {
        report_at_end();
    }
    hk_path_finish();
    errno = saved;
}
