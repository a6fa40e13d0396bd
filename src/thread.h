/*
 * thread: which cache the calling thread has, and what its end and a fork mean for it.
 *
 * lock(caches) guards the list of all caches.  A thread's cache is made by its first slow path and
 * goes with pthread's destructors; after that the thread gets along without one.
 */
#ifndef HK_THREAD_H
#define HK_THREAD_H

#include "cache.h"

/* The calling thread's cache as the fast paths see it, and as it is: the empty one before the
 * thread's first slow path and after its end; and to the fast paths with hardening always. */
extern HK_TLS hk_cache_t *hk_thread_cache;
extern HK_TLS hk_cache_t *hk_thread_own;

/* A cache for a thread that has none; NULL if there can be none now. */
hk_cache_t *hk_thread_make_cache(void);

/* This thread's cache, made if there is none; NULL if there can be none now. */
static inline hk_cache_t *hk_thread_attach(void)
{
    hk_cache_t *cache = hk_thread_own;
    return HK_LIKELY(cache != &hk_cache_empty) ? cache : hk_thread_make_cache();
}

/* Makes the key by which threads' ends are told; false if there is none left.  Early, before the
 * program takes all. */
bool hk_thread_make_key(void);

/* Once the options ask for hardening: the calling thread's cache, if it has one already, is
 * emptied, and gets a hardened heap.  There are no other threads yet. */
void hk_thread_harden(void);

/* Whether no other thread has a cache, nor had one when this process was forked: such a one may
 * have been at work on a block. */
bool hk_thread_is_alone(void);

/* hk_thread_enter for a thread that has found the gate closed, or has no cache (NULL). */
HK_COLD bool hk_thread_try_again(hk_cache_t *cache);

/* Enters and leaves the gate, with or without (NULL) a cache.  In the frame of the function that
 * will be inside: gate.h. */
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

/* Whether the calling thread is inside the gate: it is in a signal handler that interrupted a slow
 * path. */
bool hk_thread_is_inside(void);

/* Calls visit for each thread's cache, under lock(caches): the cache does not go, but its thread
 * may be at work. */
void hk_thread_each_cache(void (*visit)(const hk_cache_t *cache, void *context), void *context);

/* fork: closes the gate and waits for the other threads; then in the parent; then in the child. */
void hk_thread_fork_prepare(void);
void hk_thread_fork_parent(void);
void hk_thread_fork_child(void);

#endif
