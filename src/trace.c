/*
 * trace: see trace.h.
 */
#define _GNU_SOURCE
#include "trace.h"

#include <errno.h>
#include <execinfo.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

void hk_trace_start(void)
{
    hk_trace_t trace;
    hk_trace_take(&trace);
}

void hk_trace_take(hk_trace_t *trace)
{
    int saved = errno;
    int count = backtrace(trace->frames, HK_TRACE_FRAMES);
    trace->count = count > 0 ? (uint32_t)count : 0;
    trace->thread = (uint32_t)syscall(SYS_gettid);
    errno = saved;
}

void hk_trace_take_thread(hk_trace_t *trace)
{
    trace->count = 0;
    trace->thread = (uint32_t)syscall(SYS_gettid); /* cannot fail */
}

void hk_trace_print(const hk_trace_t *trace, const char *what)
{
    hk_line_t line = {0};
    hk_line_text(&line, "hakmem: ");
    hk_line_text(&line, what);
    hk_line_text(&line, " by thread ");
    hk_line_number(&line, trace->thread);
    hk_line_text(&line, ":\n");
    (void)hk_log_write(STDERR_FILENO, line.text, line.length);
    backtrace_symbols_fd(trace->frames, (int)trace->count, STDERR_FILENO);
}
