/*
 * reject: ends the process for a block that the program misused, with a line that says what lies
 * at the address: "a small block of 48 bytes", where 48 is what the class has, "a run of" or "a
 * direct mapping of" so many bytes.
 *
 * It is safe in a signal handler and under any lock: it takes none and allocates nothing.  What it
 * cannot find it leaves out.
 */
#ifndef HK_REJECT_H
#define HK_REJECT_H

#include "base.h"

/* Writes "hakmem: <what> of <address>: <detail> ([[<offset> bytes into ]<block>, ]thread <tid>)\n"
 * to stderr, then aborts. */
HK_COLD _Noreturn void hk_reject_block(const char *what, const void *address, const char *detail);

/* The same for a block that has so many bytes, behind which somebody wrote. */
HK_COLD _Noreturn void hk_reject_overflow(const void *block, size_t size);

#endif
