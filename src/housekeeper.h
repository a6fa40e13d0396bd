/*
 * housekeeper: one thread in the background, off by default, that does now and then what slow paths
 * do on the way: it drains the inboxes of heaps whose threads are idle, dissolves what their
 * working sets do not need, and gives empty memory back.
 *
 * It never runs before the program's 16th slow path, and holds nothing across fork.  A forked child
 * starts its own after its 16th slow path.  All state is atomics.
 */
#ifndef HK_HOUSEKEEPER_H
#define HK_HOUSEKEEPER_H

#include "atomic.h"
#include "base.h"

/* atomic: the slow paths still to come before the thread is started; 0 if it is not wanted, or has
 * been. */
extern _Atomic uint32_t hk_housekeeper_countdown;

/* What else it does each time, from outside the gate: for what lies above it. */
void hk_housekeeper_set_chore(void (*chore)(void));

/* Starts the thread a few slow paths from now. */
void hk_housekeeper_want(void);

/* Starts it now, if it does not run; returns 0 or an errno value. */
int hk_housekeeper_start(void);

/* Ends it; it may still be at its last round. */
void hk_housekeeper_stop(void);

/* In a forked child: it did not come along. */
void hk_housekeeper_forget(void);

HK_COLD void hk_housekeeper_count_down(void);

/* For slow paths, from outside the gate. */
static inline void hk_housekeeper_look(void)
{
    if (HK_UNLIKELY(hk_load_relaxed(&hk_housekeeper_countdown) != 0)) { /* relaxed: a hint */
        hk_housekeeper_count_down();
    }
}

#endif
