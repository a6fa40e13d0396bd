/*
 * decay: giving back what the working set does not need, a step at a time.
 *
 * There is no thread for it by default: whoever comes through a slow path takes a step, also for
 * heaps whose threads are idle.  Each part keeps its own epoch and knows what was not needed in it.
 */
#ifndef HK_DECAY_H
#define HK_DECAY_H

#include "heaps.h"

/* Gives back at most about *left bytes of kept direct mappings that are due, slabs and runs; *left
 * falls by what goes.  Inside the gate, with no lock held.  Returns the bytes that may still go
 * back, now or in a later epoch. */
size_t hk_decay_give(uint64_t now_ms, size_t *left);

/* What may go back, now or in a later epoch. */
typedef struct hk_excess {
    size_t bytes;           /* the places' that give, all heaps' depots and empty slabs, and */
    size_t sparse_bytes;    /* mine's sparse slabs */
    size_t other_bytes;     /* besides, other heaps' inboxes and sparse slabs; rough */
    size_t busy_bytes;      /* of all this, what other threads work with, */
    size_t busy_idle_bytes; /* of which so much is in `bytes` */
} hk_excess_t;

/* The beginning of a step: the same, after something was done in the heap `mine` (or NULL) and in
 * up to two other heaps.  What may still go back includes mine's slabs if these are sparse: if
 * blocks are freed into slabs and taken out of the fullest one, the others empty. */
hk_excess_t hk_decay_step(hk_heap_t *mine, uint64_t now_ms, size_t *left);

/* The same without doing anything. */
hk_excess_t hk_decay_excess(const hk_heap_t *mine, uint64_t now_ms);

/* When the library is loaded. */
void hk_decay_start(uint64_t now_ms);

/* To be called when a thread has ended and left its heap.  is_last: no other thread is left, or
 * only one, which may have waited for this one.  Then free memory goes back if it is much, because
 * nobody may come by for long: heaps that no thread uses put all their free blocks into slabs, and
 * of what is empty then only a part stays.  The longer ago this last happened, the more goes.
 * Inside the gate, with no lock held.  Takes longer than a step: a thread's end is no malloc or
 * free. */
void hk_decay_at_end(uint64_t now_ms, bool is_last);

#endif
