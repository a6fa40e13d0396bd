/*
 * trace: see trace.h.
 */
#define _GNU_SOURCE
#include "trace.h"

#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

/* Where libgcc_s is; const once started. */
static uintptr_t unwinder_start;
static uintptr_t unwinder_end;

/* Whether the object asks for a dynamic loader: one of a dynamic program does. */
static int asks_for_loader(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_INTERP) {
            return 1;
        }
    }
    return 0;
}

static int find_unwinder(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    if (strstr(info->dlpi_name, "/libgcc_s.so") == NULL) {
        return 0;
    }
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X) != 0) {
            unwinder_start = info->dlpi_addr + header->p_vaddr;
            unwinder_end = unwinder_start + header->p_memsz;
        }
    }
    return 1;
}

bool hk_trace_start(void)
{
    if (dl_iterate_phdr(asks_for_loader, NULL) == 0) {
        return false;
    }
    hk_trace_t trace;
    hk_trace_take(&trace);
    (void)dl_iterate_phdr(find_unwinder, NULL);
    return true;
}

bool hk_trace_is_unwinder(const void *return_address)
{
    return (uintptr_t)return_address - unwinder_start < unwinder_end - unwinder_start;
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
