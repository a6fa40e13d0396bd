/*
 * thread: which cache the calling thread has, and what its end and a fork mean for it.
 *
 * lock(caches) guards the list of all caches.  A thread's first slow path makes its cache, and a
 * pthread destructor gives it back; after that the thread goes on without one.
 */
#ifndef HK_THREAD_H
#define HK_THREAD_H

#include "cache.h"

/* The calling thread's cache as the fast paths see it, and as it is.  Both are the empty cache
 * before the thread's first slow path and after its end; with hardening the fast paths always see
 * the empty one, and so do those that are trapped (cache.h). */
extern HK_TLS hk_view_t hk_thread_view;
extern HK_TLS hk_cache_t *hk_thread_own;

/* Makes a cache for a thread that has none; NULL if it can have none now. */
hk_cache_t *hk_thread_make_cache(void);

/* Returns this thread's cache, and makes one if there is none; NULL if it can have none now. */
static inline hk_cache_t *hk_thread_attach(void)
{
    hk_cache_t *cache = hk_thread_own;
    return HK_LIKELY(cache != &hk_cache_empty) ? cache : hk_thread_make_cache();
}

/* Makes the key whose destructor runs at threads' ends; false if no key is left.  To be called
 * early, before the program takes all keys. */
bool hk_thread_make_key(void);

/* To be called once the options ask for hardening, while there are no other threads: if the calling
 * thread has a cache already, that is emptied and gets a hardened heap. */
void hk_thread_harden(void);

/* Closes the gate, as fork does, and returns true, if no other thread can be at work on a block
 * until hk_thread_let_in is called: none is inside, has a cache, or had one when this process was
 * forked.  Else returns false, with the gate as it was.  Inside the gate. */
bool hk_thread_shut_out(void);
void hk_thread_let_in(void);

/* hk_thread_enter, for a thread that has found the gate closed or has no cache (NULL). */
HK_COLD bool hk_thread_try_again(hk_cache_t *cache);

/* Enters and leaves the gate, with a cache or without one (NULL).  To be called in the frame of the
 * function that will be inside: see gate.h. */
HK_INLINE bool hk_thread_enter(hk_cache_t *cache)
{
    return HK_LIKELY(cache != NULL && hk_gate_enter(&cache->busy)) || hk_thread_try_again(cache);
}

static inline void hk_thread_leave(hk_cache_t *cache)
{
    if (HK_LIKELY(cache != NULL)) {
        hk_gate_leave(&cache->busy);
    } else {
        hk_gate_leave_stranger();
    }
}

/* Whether the calling thread is inside the gate; called from outside, this tells that it is in a
 * signal handler that interrupted a slow path. */
bool hk_thread_is_inside(void);

/* Calls visit for each thread's cache, under lock(caches): the cache does not go, but its thread
 * may be at work. */
void hk_thread_each_cache(void (*visit)(const hk_cache_t *cache, void *context), void *context);

/* Registers what follows as fork's handlers, if that has not been done; false without memory. */
bool hk_thread_watch_forks(void);

/* What else is to be done in a forked child, after hk_thread_fork_child. */
void hk_thread_set_chore(void (*function)(void));

/* For fork: before it, closes the gate and waits for the other threads; after it in the parent,
 * opens the gate; in the child, puts everything right for its one thread. */
void hk_thread_fork_prepare(void);
void hk_thread_fork_parent(void);
void hk_thread_fork_child(void);

#endif
