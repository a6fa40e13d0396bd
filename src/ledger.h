/*
 * ledger: where the resident bytes are, line by line, from what the program holds to what the
 * kernel counts.
 *
 * It sees everything and changes nothing.  It asks the kernel which pages are resident, so that the
 * lines add up to what the kernel reports.  Heaps, pools and the list of caches are read under
 * their locks.  Other threads' magazines have none: they are read as they are, and may be stale.
 */
#ifndef HK_LEDGER_H
#define HK_LEDGER_H

#include <hakmem/hakmem.h>

/* Fills in the ledger's lines of *stats, whose other figures are there already.  Inside the
 * gate. */
void hk_ledger_collect(hak_stats_t *stats);

#endif
