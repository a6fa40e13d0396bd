/*
 * ledger: where the resident bytes are, line by line from what the program holds to what the kernel
 * counts.
 *
 * Sees everything, changes nothing.  It asks the kernel which pages are resident, so that the lines
 * add up to what the kernel reports; heaps, pools and the list of caches are read under their
 * locks, other threads' magazines without, since only their owners may write them.
 */
#ifndef HK_LEDGER_H
#define HK_LEDGER_H

#include <hakmem/hakmem.h>

/* Fills in the ledger's lines.  The others are there already; the caller is inside the gate. */
void hk_ledger_collect(hak_stats_t *stats);

#endif
