/*
 * fault: see fault.h.
 */
#define _GNU_SOURCE
#include "fault.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include "guard.h"
#include "large.h"
#include "log.h"
#include "os.h"
#include "superslab.h"

/* How many chunks of 2 MiB are searched, downwards from a fault, for the start of the mapping that
 * it may lie behind. */
enum { SEARCHED_CHUNKS = 4096 };

static struct sigaction previous; /* const once started, but for a handler that serves once */

static const char *access_kind(const void *context)
{
#if defined(__x86_64__)
    const ucontext_t *user = context;
    return (user->uc_mcontext.gregs[REG_ERR] & 2) != 0 ? "a write" : "a read";
#else
    (void)context;
    return "an access";
#endif
}

static void print_line(const char *what, const void *address, const char *access, const char *where)
{
    hk_line_t line = {0};
    hk_line_misuse(&line, what, address, access);
    hk_line_text(&line, where);
    hk_line_text(&line, "\n");
    (void)hk_log_write(STDERR_FILENO, line.text, line.length);
}

/* Prints what happened if the region, which starts at or below the address or in the next 2 MiB,
 * explains it; false if it does not. */
static bool explain_region(const hk_region_t *region, const char *address, const char *access)
{
    size_t page = hk_os_page_bytes();
    const char *start = NULL;
    size_t bytes = 0;
    size_t room = 0; /* without access, like the page behind it */
    const hk_large_t *large = (const hk_large_t *)region;
    if ((region->kind == HK_REGION_LARGE && large->walled) || region->kind == HK_REGION_RETIRED) {
        start = large->address;
        bytes = large->bytes;
        room = large->room - bytes;
    } else if (region->kind == HK_REGION_SUPERSLAB) {
        start = ((const hk_superslab_t *)region)->base;
        bytes = HK_SUPERSLAB_BYTES;
    }
    if (start == NULL || address < start - page || address >= start + bytes + room + page) {
        return false;
    }
    if (region->kind == HK_REGION_RETIRED) {
        print_line("use after free", start, access, " of a freed block");
    } else if (address < start) {
        print_line("underflow", address, access, " in the page before a mapping");
    } else if (address >= start + bytes) {
        print_line("overflow", address, access, " in the page behind a mapping");
    } else {
        return false;
    }
    return true;
}

/* The region so many bytes further on; the sum may wrap. */
static const hk_region_t *region_at(const char *address, uintptr_t further)
{
    return hk_registry_find((const void *)((uintptr_t)address + further));
}

static bool explain(const char *address, const char *access)
{
    const hk_region_t *region = hk_registry_find(address);
    if (region != NULL && region->kind == HK_REGION_NOTHING) {
        print_line("overflow", address, access, " of a block of no bytes");
        return true;
    }
    if (region != NULL && region->kind == HK_REGION_GUARD) {
        return hk_guard_explain(address, access);
    }
    const hk_region_t *next = region_at(address, hk_os_page_bytes());
    if (next != NULL && next != region && explain_region(next, address, access)) {
        return true;
    }
    for (unsigned chunk = 0; region == NULL && chunk < SEARCHED_CHUNKS; chunk++) {
        region = region_at(address, 0 - ((uintptr_t)chunk << HK_SUPERSLAB_SHIFT));
    }
    return region != NULL && explain_region(region, address, access);
}

static void step_aside(void)
{
    (void)sigaction(SIGSEGV, &previous, NULL);
}

/* Calls the handler that was there before as the system would have.  The mask that the signal found
 * comes back when this one returns. */
static void call_previous(int number, siginfo_t *info, void *context)
{
    struct sigaction called = previous;
    if ((called.sa_flags & (int)SA_RESETHAND) != 0) {
        previous.sa_handler = SIG_DFL;
    }
    sigset_t signals = called.sa_mask;
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if ((called.sa_flags & SA_NODEFER) != 0) {
        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, number);
        (void)pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    }
    if ((called.sa_flags & SA_SIGINFO) != 0) {
        called.sa_sigaction(number, info, context);
    } else {
        called.sa_handler(number);
    }
}

static void handle(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    bool sent = info->si_code <= 0; /* it was sent by kill, so nothing will fault again */
    bool ours = !sent && explain(info->si_addr, access_kind(context));
    if (ours) {
        step_aside();
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        call_previous(number, info, context);
    } else if (!sent || previous.sa_handler == SIG_DFL) {
        step_aside();
        if (sent) {
            (void)raise(number);
        }
    }
    errno = saved;
}

void hk_fault_start(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, &previous) != 0) {
        hk_log_warning("no handler for SIGSEGV:", "faults are not explained");
    }
}
