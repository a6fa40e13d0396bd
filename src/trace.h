/*
 * trace: where a thread is, as a list of return addresses.
 *
 * Traces are taken by the C library's backtrace, which opens libgcc_s when it is first called.
 * hk_trace_start makes that first call, outside of malloc, and only if traces will be wanted.
 * Where libgcc_s is missing, traces are empty.
 *
 * Older libgcc_s hold a lock of their own while they sort the unwind tables that a program has
 * registered, as those with generated code do, and allocate meanwhile.  A trace would wait for that
 * lock, so none may be taken for a block that libgcc_s asks for.
 *
 * In a fully static program libgcc is a part of the program.  What it asks for cannot be told from
 * the rest, and it cannot unwind yet when the library's constructor runs.  No trace is taken there.
 */
#ifndef HK_TRACE_H
#define HK_TRACE_H

#include "base.h"

enum { HK_TRACE_FRAMES = 16 };

typedef struct hk_trace {
    uint32_t thread; /* the system's number for it */
    uint32_t count;
    void *frames[HK_TRACE_FRAMES];
} hk_trace_t;

/* From the library's constructor; false if no trace may be taken in this program. */
bool hk_trace_start(void);

/* Whether the address, to which a call returns, lies in libgcc_s. */
bool hk_trace_is_unwinder(const void *return_address);

/* Takes the calling thread's trace.  No lock may be held. */
void hk_trace_take(hk_trace_t *trace);

/* The same without the stack: only which thread it is. */
void hk_trace_take_thread(hk_trace_t *trace);

/* Writes "hakmem: <what> by thread <number>:" and a line for each frame to stderr, without
 * memory. */
void hk_trace_print(const hk_trace_t *trace, const char *what);

#endif
