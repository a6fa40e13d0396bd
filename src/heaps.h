/*
 * heaps: the tables of all heaps, and which heap a thread gets.
 *
 * lock(caches) guards the tables.  Threads' heaps are never deleted: a parked heap waits for the
 * next thread.
 */
#ifndef HK_HEAPS_H
#define HK_HEAPS_H

#include "heap.h"

extern hk_lock_t hk_heaps_lock; /* HK_RANK_CACHES; also guards the list of caches */

/* Returns the heap for one more thread: a parked one, else a new one while there are few, else the
 * one with the fewest threads.  NULL only if there is none and no memory for one. */
hk_heap_t *hk_heaps_attach_locked(void);

/* Notes that a thread leaves its heap, which is parked after the last one. */
void hk_heaps_detach_locked(hk_heap_t *heap);

/* Returns the parked heap in whose slabs most is free and resident, if that is much, for a thread
 * whose heap grows; else NULL.  A hint. */
hk_heap_t *hk_heaps_find_roomy(void);

/* Notes that a thread turns from one heap to another, if that is parked; else returns false. */
bool hk_heaps_move_locked(hk_heap_t *from, hk_heap_t *to);

/* Returns the heap that all threads without a cache share; NULL if there is no memory for it. */
hk_heap_t *hk_heaps_orphan(void);

/* Whether the heap has ever had several threads at once: then a clear live bit proves nothing (see
 * live.h).  Takes the lock, so that a thread which has seen another one's write of the heap's live
 * bits also sees that this one has come. */
bool hk_heaps_is_shared(const hk_heap_t *heap);

/* First-class heaps. */
hk_heap_t *hk_heaps_create(void);
bool hk_heaps_remove(hk_heap_t *heap); /* false: there is no such heap */

/* Calls visit for each thread's heap, without the lock; heaps never go. */
void hk_heaps_each_thread_heap(void (*visit)(hk_heap_t *heap, void *context), void *context);

/* What lies in the depots of threads' heaps and in the empty slabs that they keep; and which heap,
 * other than mine, has most of both together.  now_ms tells which heaps are busy: one of their
 * threads began a step less than HK_BUSY_MS before. */
typedef struct hk_heaps_idle {
    const hk_heap_t *mine;
    hk_heap_t *fullest; /* NULL: there is no other */
    size_t depot_bytes;
    size_t empty_bytes;
    size_t other_bytes; /* in the inboxes of the others, and to go of their slabs if sparse */
    size_t busy_bytes;  /* of all these: of each other heap that is busy, HK_BUSY_BYTES at most, */
    size_t busy_idle_bytes; /* of which so much is in depots and empty slabs */
    uint64_t now_ms;
} hk_heaps_idle_t;
hk_heaps_idle_t hk_heaps_find_idle(const hk_heap_t *mine, uint64_t now_ms);

/* Calls visit for each first-class heap, under lock(caches), so that none is destroyed
 * meanwhile. */
void hk_heaps_each_first_class(void (*visit)(hk_heap_t *heap, void *context), void *context);

/* For whoever has to see everything: calls visit_heap for each heap and visit_pool for each pool,
 * for the parts of the shared pool and first-class heaps' own; for first-class heaps under
 * lock(caches). */
void hk_heaps_each(void (*visit_heap)(hk_heap_t *heap, void *context),
                   void (*visit_pool)(hk_pool_t *pool, void *context), void *context);

/* Returns a thread's heap other than the given one, in turn; NULL if it is the given one's turn, or
 * there is no other. */
hk_heap_t *hk_heaps_next_other(const hk_heap_t *heap);

/* In a forked child: only one thread is left, and it is in this heap (or none). */
void hk_heaps_reset(hk_heap_t *mine);

uint64_t hk_heaps_count(void);

#endif
