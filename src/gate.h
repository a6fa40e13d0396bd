/*
 * gate: what every slow path passes through, so that fork finds the allocator at rest.
 *
 * A forking thread holds no allocator lock across fork.  It closes the gate and waits until every
 * other thread is outside.  Then no shared state is half-way changed, so the child's copy is whole.
 * Meanwhile nobody waits for the forking thread: a thread that finds the gate closed turns to the
 * refuge.  So a thread that holds a stdio lock, which glibc's fork takes after the atfork handlers,
 * always gets on.
 *
 * Correctness: a thread sets its busy word and then reads `closed`; the forking thread sets
 * `closed` and then reads the busy words.  All four are seq_cst, so either the thread sees the gate
 * closed or the forking thread sees it busy (Dekker).
 *
 * Progress: a thread also looks at `closed` before it sets its word, so once the gate is closed
 * each thread sets its word at most once more.  Otherwise many threads that keep trying could hold
 * the fork up for ever, since one of them would always be busy for a moment.
 */
#ifndef HK_GATE_H
#define HK_GATE_H

#include "atomic.h"
#include "base.h"

/* How often a thread has entered.  Each cache has one of these; threads without a cache share
 * one. */
typedef struct hk_busy {
    _Atomic uint32_t depth;
    uintptr_t frame; /* owner: where on the stack the outermost entry was made */
} hk_busy_t;

/* Forks under way, and threads that look at all blocks at the process's end. */
extern _Atomic uint32_t hk_gate_closed;

/* The shared count of the threads without a cache. */
extern hk_busy_t hk_gate_strangers;

/* Enters; false if a fork is under way and this is not the forking thread: then nothing shared may
 * be touched.
 *
 * A signal handler that leaves by longjmp may have jumped out of a slow path that was inside.  The
 * next entry finds that out, by the stack.  If a lock was held, the process ends with a line; if
 * not, what the slow path had in hand is lost and the word is put right.  So each caller must call
 * this function out of the frame that stays until it leaves: then an entry from inside always lies
 * deeper on the stack. */
bool hk_gate_enter(hk_busy_t *busy);

static inline void hk_gate_leave(hk_busy_t *busy)
{
    uint32_t depth = hk_load_relaxed(&busy->depth); /* relaxed: only this thread writes it */
    hk_store_release(&busy->depth, depth - 1); /* release: whoever finds 0 sees what was done */
}

/* The same for a thread without a cache. */
bool hk_gate_enter_stranger(void);

/* For a thread that is inside already and becomes a stranger there. */
void hk_gate_force_stranger(void);

void hk_gate_leave_stranger(void);

/* Whether the calling thread is inside as a stranger; if so, it may be in a signal handler that
 * interrupted it there.  A handler that has jumped out is found by the stack, as above. */
bool hk_gate_is_stranger(void);

/* For the forking thread: before it waits for the others; after fork in the parent; and in the
 * child. */
void hk_gate_close(void);
void hk_gate_open(void);
void hk_gate_reset(void);

#endif
