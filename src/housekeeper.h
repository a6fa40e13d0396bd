/*
 * housekeeper: one thread in the background, off by default.  It does now and then what slow paths
 * do on the way: it drains the inboxes of heaps whose threads are idle, dissolves what their
 * working sets do not need, and gives empty memory back.
 *
 * HAKMEM_HOUSEKEEPER=1 starts it with the program's 16th slow path.  It holds nothing across fork;
 * a forked child starts its own with its 16th slow path.  All state is atomics.
 */
#ifndef HK_HOUSEKEEPER_H
#define HK_HOUSEKEEPER_H

#include "atomic.h"
#include "base.h"

/* atomic: how many slow paths are still to come before the thread is started; 0 if it is not
 * wanted, or was started. */
extern _Atomic uint32_t hk_housekeeper_countdown;

/* Sets what else it does in each round, outside the gate; so a layer above can have work done. */
void hk_housekeeper_set_chore(void (*chore)(void));

/* Starts the thread a few slow paths from now. */
void hk_housekeeper_want(void);

/* Starts it now, unless it runs already; returns 0 or an errno value. */
int hk_housekeeper_start(void);

/* Tells it to end; it may still do its last round. */
void hk_housekeeper_stop(void);

/* In a forked child, which does not have the thread. */
void hk_housekeeper_forget(void);

HK_COLD void hk_housekeeper_count_down(void);

/* To be called by slow paths, outside the gate. */
static inline void hk_housekeeper_look(void)
{
    if (HK_UNLIKELY(hk_load_relaxed(&hk_housekeeper_countdown) != 0)) { /* relaxed: a hint */
        hk_housekeeper_count_down();
    }
}

#endif
