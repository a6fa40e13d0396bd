/*
 * log: see log.h.
 */
#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void hk_line_text(hk_line_t *line, const char *text)
{
    while (*text != '\0' && line->length < sizeof line->text) {
        line->text[line->length++] = *text++;
    }
}

static void append_digits(hk_line_t *line, uint64_t number, unsigned base)
{
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    hk_line_text(line, digits + at);
}

void hk_line_number(hk_line_t *line, uint64_t number)
{
    append_digits(line, number, 10);
}

void hk_line_address(hk_line_t *line, const void *address)
{
    hk_line_text(line, "0x");
    append_digits(line, (uintptr_t)address, 16);
}

const char *hk_line_end(hk_line_t *line)
{
    line->text[line->length < sizeof line->text ? line->length : sizeof line->text - 1] = '\0';
    return line->text;
}

/* Ends what holds SIGPIPE back.  A write that found no reader has left one behind, which is dropped
 * unless the program held it back itself.  Not by sigtimedwait, where a cancelled thread ends. */
static void let_sigpipe_pass(const sigset_t *pipe, const sigset_t *before, int error)
{
    if (error == EPIPE && sigismember(before, SIGPIPE) == 0) {
        const struct timespec no_time = {0};
        (void)syscall(SYS_rt_sigtimedwait, pipe, NULL, &no_time, (size_t)_NSIG / 8);
    }
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Not by write(2), where a thread that was cancelled ends: before abort, or inside the gate.  A
 * pipe that nobody reads any more must not end the program. */
int hk_log_write(int fd, const char *text, size_t length)
{
    int saved = errno;
    int error = 0;
    sigset_t pipe, before;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)sigemptyset(&before);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, &before);
    while (length > 0) {
        long written = syscall(SYS_write, fd, text, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            error = written < 0 ? errno : EIO;
            break;
        }
        text += written;
        length -= (size_t)written;
    }
    let_sigpipe_pass(&pipe, &before, error);
    errno = saved;
    return error;
}

/* Ends the line, also when the text before was cut, and writes it. */
static void write_line(hk_line_t *line)
{
    if (line->length == sizeof line->text) {
        line->length--;
    }
    hk_line_text(line, "\n");
    (void)hk_log_write(STDERR_FILENO, line->text, line->length);
}

void hk_log_warning(const char *what, const char *detail)
{
    hk_line_t line = {0};
    hk_line_text(&line, "hakmem: ");
    hk_line_text(&line, what);
    if (detail != NULL) {
        hk_line_text(&line, " ");
        hk_line_text(&line, detail);
    }
    write_line(&line);
}

void hk_line_misuse(hk_line_t *line, const char *what, const void *address, const char *detail)
{
    hk_line_text(line, "hakmem: ");
    hk_line_text(line, what);
    hk_line_text(line, " of ");
    hk_line_address(line, address);
    hk_line_text(line, ": ");
    hk_line_text(line, detail);
}

void hk_log_fatal(const char *what, const void *address, const char *detail)
{
    hk_line_t line = {0};
    hk_line_misuse(&line, what, address, detail);
    hk_line_text(&line, " (");
    hk_log_abort(&line);
}

void hk_log_abort(hk_line_t *line)
{
    hk_line_text(line, "thread ");
    hk_line_number(line, (uint64_t)syscall(SYS_gettid));
    hk_line_text(line, ")");
    write_line(line);
    abort();
}

void hk_log_assert(const char *condition, const char *file, int line_number)
{
    hk_line_t line = {0};
    hk_line_text(&line, "hakmem: assertion failed: ");
    hk_line_text(&line, condition);
    hk_line_text(&line, " at ");
    hk_line_text(&line, file);
    hk_line_text(&line, ":");
    hk_line_number(&line, (uint64_t)line_number);
    write_line(&line);
    abort();
}
