/*
 * run_part: which part of the areas a thread allocates from.
 *
 * All threads begin with the first one, since what is free there serves whoever comes.  A thread
 * that finds its lock held again and again goes on to another part, and stays there; what it frees
 * goes back to where it came from.
 */
#ifndef HK_RUN_PART_H
#define HK_RUN_PART_H

#include "run_area.h"

/* Locks the calling thread's part, and returns it. */
hk_runs_t *hk_run_part_acquire(void);

#endif
