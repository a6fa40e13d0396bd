/*
 * fault: says what a program did when it ran into one of our pages without access.
 *
 * This is a handler for SIGSEGV, installed only with guarded sampling or hardening.  It writes its
 * report and steps aside: the access faults again, and whoever had the signal before gets it, which
 * by default ends the process with a core.  A fault on other pages goes to the handler that was
 * there before.  A handler that the program installs later takes the place of this one.
 */
#ifndef HK_FAULT_H
#define HK_FAULT_H

/* Installs the handler. */
void hk_fault_start(void);

#endif
