/*
 * fault: says what a program has done that ran into one of our pages without access.
 *
 * A handler for SIGSEGV, installed only with guarded sampling or hardening.  It writes its report
 * and steps aside: the access faults again, and now whoever had the signal before gets it, which by
 * default is the end of the process, with its core.  What is not ours goes on to the handler that
 * was there before; one that the program installs later takes the place of this one.
 */
#ifndef HK_FAULT_H
#define HK_FAULT_H

/* Installs the handler. */
void hk_fault_start(void);

#endif
