/*
 * log: lines on stderr, without stdio and without memory, safe in a signal handler.
 *
 * A line is built in a buffer on the caller's stack and written by one system call.  No state, no
 * locks, and no place where a thread that was cancelled ends.  A pipe that nobody reads any more
 * brings no SIGPIPE: the program is not to end for what HAKMEM has to say.
 */
#ifndef HK_LOG_H
#define HK_LOG_H

#include "base.h"

enum { HK_LINE_BYTES = 512 };

typedef struct hk_line {
    size_t length;
    char text[HK_LINE_BYTES];
} hk_line_t;

/* Append to the line; what does not fit is cut. */
void hk_line_text(hk_line_t *line, const char *text);
void hk_line_number(hk_line_t *line, uint64_t number);
void hk_line_address(hk_line_t *line, const void *address);

/* Ends the line with a 0 and returns it as a string; what did not fit is cut. */
const char *hk_line_end(hk_line_t *line);

/* Appends "hakmem: <what> of <address>: <detail>", with which every line about a misuse begins. */
void hk_line_misuse(hk_line_t *line, const char *what, const void *address, const char *detail);

/* Writes all length bytes of text to the descriptor; returns 0 or an errno value.  Keeps errno. */
int hk_log_write(int fd, const char *text, size_t length);

/* Writes "hakmem: <what>[ <detail>]\n" to stderr. */
void hk_log_warning(const char *what, const char *detail);

/* Writes "hakmem: <what> of <address>: <detail> (thread <tid>)\n" to stderr, then aborts.  Where a
 * block may lie at the address, hk_reject_block says more. */
HK_COLD _Noreturn void hk_log_fatal(const char *what, const void *address, const char *detail);

/* Ends the line, which has an open bracket, by "thread <tid>)\n", writes it to stderr, and
 * aborts. */
HK_COLD _Noreturn void hk_log_abort(hk_line_t *line);

/* hk_assert(level, condition) is checked in builds whose HK_DEBUG is at least level; it is always
 * compiled. */
HK_COLD _Noreturn void hk_log_assert(const char *condition, const char *file, int line);
#define hk_assert(level, condition)                                                                \
    ((level) > HK_DEBUG || HK_LIKELY(condition) ? (void)0                                          \
                                                : hk_log_assert(#condition, __FILE__, __LINE__))

#endif
