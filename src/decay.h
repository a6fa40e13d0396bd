/*
 * decay: giving back what the working set does not need, a step at a time.
 *
 * No thread is there for it: whoever comes through a slow path takes a step, also for heaps whose
 * threads are idle.  Each part keeps its own epoch and knows what was not needed in it.
 */
#ifndef HK_DECAY_H
#define HK_DECAY_H

#include "heaps.h"
#include "limit.h"

/* Gives back at most about HK_DECAY_STEP_BYTES each of slabs and of runs, what is due of direct
 * mappings, and helps mine (or NULL) and up to two other heaps.  Inside the gate, without a lock
 * held.  Returns the bytes that may still go back, now or in a later epoch; of mine's slabs too, if
 * they are sparse: what is freed into them and taken out of the fullest empties the others. */
size_t hk_decay_step(hk_heap_t *mine, uint64_t now_ms);

/* atomic: the most that was ever committed, in steps. */
extern _Atomic size_t hk_decay_peak_bytes;

static inline size_t hk_decay_peak(void)
{
    return hk_load_relaxed(&hk_decay_peak_bytes); /* relaxed: a hint */
}

/* Whether the process has grown beyond what it ever was: then what is free had better go first. */
static inline bool hk_decay_is_peak(void)
{
    return hk_limit_committed_bytes() > hk_decay_peak() + HK_PEAK_STEP_BYTES;
}

/* At such a peak: gives back a part of what is free, if that is more than policy allows beside what
 * is committed.  As hk_decay_step. */
void hk_decay_at_peak(void);

/* When the library is loaded. */
void hk_decay_start(uint64_t now_ms);

/* When a thread has ended and left its heap.  If no thread is left, or only one, which may have
 * waited for it, free memory goes back, if it is much: nobody may come by for long.  Heaps that no
 * thread uses put all their free blocks into slabs; of what is empty then a part stays.  The longer
 * ago it last happened, the more goes.  As hk_decay_step, but not bounded like a step: a thread's
 * end is no malloc or free. */
void hk_decay_at_end(uint64_t now_ms, bool is_last);

/* Before a block of the size is allocated: if it will be a direct mapping that makes the process
 * larger than it ever was, what is free and resident goes, if it is much; if it is large beside the
 * process, free runs that it will not lie in go, and of kept mappings if it will be a run, as much
 * as it takes anew.  As hk_decay_step. */
void hk_decay_make_way(size_t size);

/* The same before a direct mapping gets more bytes, or is made for a block that grows, to be of the
 * size. */
void hk_decay_make_way_growing(size_t size, size_t more);

#endif
