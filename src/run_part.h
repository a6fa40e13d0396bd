/*
 * run_part: which part of the areas a thread allocates from.
 *
 * All threads begin with the first part, so that what is free there serves all of them.  A thread
 * that finds the part's lock held again and again moves to another part, and stays there.  What it
 * frees goes back to the part it came from.
 */
#ifndef HK_RUN_PART_H
#define HK_RUN_PART_H

#include "run_area.h"

/* Locks the calling thread's part, and returns it. */
hk_runs_t *hk_run_part_acquire(void);

#endif
