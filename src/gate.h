/*
 * gate: what every slow path passes through, so that fork finds the allocator at rest.
 *
 * A forking thread holds no allocator lock across fork.  It closes the gate and waits until every
 * other thread is outside; then nothing shared is half-way changed, and the child's copy is whole.
 * Meanwhile nobody waits for the forking thread: a thread that finds the gate closed turns to the
 * refuge.  So a thread that holds a stdio lock, which glibc's fork takes after the atfork handlers
 * ran, always gets on.
 *
 * Correctness: a thread sets its busy word, then reads `closed`; the forking thread sets `closed`,
 * then reads the busy words; all seq_cst.  So either the one sees the gate closed or the other sees
 * it busy (Dekker).
 *
 * Progress: a thread looks at `closed` before it sets its word too, so that once the gate is closed
 * each thread sets its word once more at most.  Else many threads that keep trying, one of them
 * always busy for a moment, would hold the fork up for ever.
 */
#ifndef HK_GATE_H
#define HK_GATE_H

#include "atomic.h"
#include "base.h"

/* How often the calling thread has entered; its own in a cache, a shared count for threads without
 * one. */
typedef struct hk_busy {
    _Atomic uint32_t depth;
    uintptr_t frame; /* owner: where on the stack the outermost entry was made */
} hk_busy_t;

/* Forks under way. */
extern _Atomic uint32_t hk_gate_closed;

/* The words of threads without a cache, all together. */
extern hk_busy_t hk_gate_strangers;

/* Enters; false if a fork is under way and this is not the forking thread: then nothing shared may
 * be touched.
 *
 * A signal handler that leaves by longjmp may have left a slow path, inside.  The next entry finds
 * that, by the stack: if a lock was held the process ends with a line; if none was, what the slow
 * path had in hand is lost and the word is put right.  So whoever enters must call this itself, out
 * of the frame that stays until it leaves: an entry from inside then always lies deeper. */
bool hk_gate_enter(hk_busy_t *busy);

static inline void hk_gate_leave(hk_busy_t *busy)
{
    uint32_t depth = hk_load_relaxed(&busy->depth); /* relaxed: only this thread writes it */
    hk_store_release(&busy->depth, depth - 1); /* release: what was done is seen by who finds 0 */
}

/* The same for a thread without a cache. */
bool hk_gate_enter_stranger(void);

/* For a thread that is inside already and becomes a stranger there. */
void hk_gate_force_stranger(void);

void hk_gate_leave_stranger(void);

/* Whether the calling thread is inside as a stranger: a signal handler may have interrupted it
 * there.  One that has jumped out is found by the stack, as above. */
bool hk_gate_is_stranger(void);

/* The forking thread, before it waits for the others, and after fork in the parent and in the
 * child. */
void hk_gate_close(void);
void hk_gate_open(void);
void hk_gate_reset(void);

#endif
