/*
 * decay: giving back what the working set does not need, a step at a time.
 *
 * There is no thread for it by default: whoever comes through a slow path takes a step, also for
 * heaps whose threads are idle.  Each part keeps its own epoch and knows what was not needed in it.
 */
#ifndef HK_DECAY_H
#define HK_DECAY_H

#include "heaps.h"
#include "limit.h"

/* One step: gives back at most about HK_DECAY_STEP_BYTES of slabs and as much of runs, and the kept
 * direct mappings that are due; and takes a step in the heap `mine` (or NULL) and in up to two
 * other heaps.  Inside the gate, with no lock held.  Returns the bytes that may still go back, now
 * or in a later epoch.  They include mine's slabs if these are sparse: if blocks are freed into
 * slabs and taken out of the fullest one, the others empty. */
size_t hk_decay_step(hk_heap_t *mine, uint64_t now_ms);

/* atomic: the most that was ever committed, in steps. */
extern _Atomic size_t hk_decay_peak_bytes;

static inline size_t hk_decay_peak(void)
{
    return hk_load_relaxed(&hk_decay_peak_bytes); /* relaxed: a hint */
}

/* Whether the process has grown beyond its peak: then free memory had better go first. */
static inline bool hk_decay_is_peak(void)
{
    return hk_limit_committed_bytes() > hk_decay_peak() + HK_PEAK_STEP_BYTES;
}

/* To be called at such a peak: gives back a part of what is free, if that is more than policy
 * allows for what is committed.  Inside the gate, with no lock held. */
void hk_decay_at_peak(void);

/* When the library is loaded. */
void hk_decay_start(uint64_t now_ms);

/* To be called when a thread has ended and left its heap.  is_last: no other thread is left, or
 * only one, which may have waited for this one.  Then free memory goes back if it is much, because
 * nobody may come by for long: heaps that no thread uses put all their free blocks into slabs, and
 * of what is empty then only a part stays.  The longer ago this last happened, the more goes.
 * Inside the gate, with no lock held.  Takes longer than a step: a thread's end is no malloc or
 * free. */
void hk_decay_at_end(uint64_t now_ms, bool is_last);

/* To be called before a block of the size is allocated.  If it will be a direct mapping that takes
 * the process beyond its peak, what is free and resident goes, if it is much.  If it is large for
 * the process, free runs go that it will not lie in, as much as it takes anew; and if it will be a
 * run, as much of a kept mapping.  Inside the gate, with no lock held. */
void hk_decay_make_way(size_t size);

/* The same before a direct mapping gets `more` bytes, or is made for a block that grows, and will
 * then have `size`. */
void hk_decay_make_way_growing(size_t size, size_t more);

#endif
