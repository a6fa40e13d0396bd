/*
 * thread: see thread.h.
 */
#include "thread.h"

#include <errno.h>
#include <pthread.h>

#include "decay.h"
#include "guard.h"
#include "large.h"
#include "list.h"
#include "log.h"
#include "meta.h"
#include "nothing.h"
#include "os.h"
#include "policy.h"
#include "refuge.h"
#include "retire.h"
#include "run.h"

enum { STRANGER_YIELDS = 1000 };

HK_TLS hk_view_t hk_thread_view = {&hk_cache_empty, &hk_cache_empty};
HK_TLS hk_cache_t *hk_thread_own = &hk_cache_empty;

static HK_TLS bool thread_ended;     /* owner: the cache is gone for good */
static HK_TLS bool attaching;        /* owner: inside attach */
static bool others_stayed_behind;    /* lock(caches): the process was forked while it had others */
static _Atomic uint32_t left_caches; /* atomic: a hint: caches to end for threads that could not */
static pthread_key_t end_key;        /* const once end_key_made */
static _Atomic uint32_t end_key_made;
static size_t cache_count; /* lock(caches) */
static _Atomic uint32_t forks_watched;
static void (*fork_chore)(void); /* const once set, by the constructor */

/* ---- Threads come and go ---- */

/* Puts a cache in force for the thread; the empty one: the thread has none.  The fast paths see no
 * hardened one. */
static void set_cache(hk_cache_t *cache)
{
    hk_cache_t *seen = cache->hardened ? &hk_cache_empty : cache;
    hk_thread_own = cache;
    hk_store_relaxed(&hk_thread_view.by_malloc, seen); /* relaxed: see cache.h */
    hk_thread_view.by_free = seen;
}

/* NULL if the thread has none. */
static hk_cache_t *own_cache(void)
{
    return hk_thread_own != &hk_cache_empty ? hk_thread_own : NULL;
}

static void count_caches_locked(size_t count)
{
    cache_count = count;
    hk_store_relaxed(&hk_cache_crowded, hk_policy_is_crowded(count, hk_os_cpu_count()));
}

/* Nobody will use the cache any more: its blocks go to the heap, and it leaves the list.  Returns
 * whether at most one cache is left there.  Inside the gate. */
static bool retire_cache(hk_cache_t *cache)
{
    hk_cache_flush(cache);
    (void)hk_heap_release_empties(cache->heap, SIZE_MAX);
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    hk_heaps_detach_locked(cache->heap);
    HK_LIST_REMOVE(hk_cache_list, cache, next, prev);
    count_caches_locked(cache_count - 1);
    bool is_last = hk_cache_list == NULL || hk_cache_list->next == NULL;
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    return is_last;
}

static void free_cache(hk_cache_t *cache, bool is_last)
{
    if (cache->quarantine != NULL) {
        hk_quarantine_delete(cache->quarantine);
    }
    hk_meta_free(HK_META_CACHE, cache);
    hk_decay_at_end(hk_os_clock_ms(), is_last);
}

static hk_cache_t *take_left(void)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    hk_cache_t *cache = hk_cache_list;
    while (cache != NULL && hk_exchange_seq_cst(&cache->left, 0) == 0) {
        cache = cache->next;
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    return cache;
}

/* Inside the gate. */
static void end_left_caches(void)
{
    hk_cache_t *cache;
    while (hk_load_seq_cst(&left_caches) != 0 && (cache = take_left()) != NULL) {
        hk_sub_relaxed(&left_caches, 1);
        free_cache(cache, retire_cache(cache));
    }
}

/* A fork is under way.  Its thread may wait, by way of a stdio lock say, for somebody who waits for
 * this thread's end.  So this thread leaves the cache to the forking thread, which looks for such
 * once it has opened the gate: it finds this one, or this thread finds the gate open.  If it is in
 * a signal handler and may not help, the next thread does that ends or forks. */
static HK_COLD void leave_cache(hk_cache_t *cache)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    cache->own_view = NULL;
    hk_store_seq_cst(&cache->view, NULL); /* nobody traps this thread any more: see cache_watch.c */
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    set_cache(&hk_cache_empty);
    hk_store_seq_cst(&cache->left, 1);
    hk_add_seq_cst(&left_caches, 1);
    if (hk_gate_enter_stranger()) {
        end_left_caches();
        hk_gate_leave_stranger();
    }
}

/* The destructor of end_key.  Later calls of this thread, from other destructors, go past all
 * caches. */
static void end_thread(void *argument)
{
    hk_cache_t *cache = argument;
    thread_ended = true;
    if (!hk_gate_enter(&cache->busy)) {
        leave_cache(cache);
        return;
    }
    /* The busy word goes with the cache: from before it leaves the list, this thread counts as a
     * stranger. */
    hk_gate_force_stranger();
    bool is_last = retire_cache(cache);
    set_cache(&hk_cache_empty);
    hk_gate_leave(&cache->busy);
    free_cache(cache, is_last);
    end_left_caches();
    hk_gate_leave_stranger();
}

/* Never the key 0: that is the value of a variable for a key which a program has not made yet, and
 * what it does with that must reach no cache. */
static bool make_key_locked(void)
{
    pthread_key_t next;
    if (pthread_key_create(&end_key, end_thread) != 0) {
        return false;
    }
    if (end_key == 0 && pthread_key_create(&next, end_thread) == 0) {
        (void)pthread_key_delete(end_key);
        end_key = next;
    }
    return true;
}

bool hk_thread_make_key(void)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    if (hk_load_relaxed(&end_key_made) == 0 && make_key_locked()) {
        hk_store_release(&end_key_made, 1);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    return hk_load_relaxed(&end_key_made) != 0; /* relaxed: made here, or under the lock */
}

/* The program has all the keys that there are. */
static HK_COLD void warn_without_key(void)
{
    static _Atomic uint32_t warned;
    if (hk_exchange_acq_rel(&warned, 1) == 0) {
        hk_log_warning("no thread key is left:", "threads leave their caches behind when they end");
    }
}

/* Sees to it that end_thread runs; false if it will not, and the cache may outlive its thread.  The
 * first thread may do without, so that a malloc before the library's constructor makes no key.
 * Once there is a key, no thread is asked whether it is the first, which would take two system
 * calls. */
static bool register_end(hk_cache_t *cache)
{
    /* acquire: pairs with the release above */
    if (hk_load_acquire(&end_key_made) == 0) {
        (void)hk_thread_watch_forks(); /* before the first thread makes a second: that allocates */
        if (hk_os_is_main_thread()) {
            return true;
        }
        if (!hk_thread_make_key()) {
            warn_without_key();
            return false;
        }
    }
    int saved = errno;
    bool done = pthread_setspecific(end_key, cache) == 0; /* may allocate: the cache is in force */
    errno = saved;
    return done;
}

/* Gives the cache a heap. */
static void attach_heap_locked(hk_cache_t *cache)
{
    hk_heap_t *heap = hk_heaps_attach_locked();
    if (heap == NULL) {
        return; /* it keeps what it had */
    }
    hk_cache_set_heap(cache, heap);
    cache->hardened = heap->hardened;
    cache->quick = heap->hardened && hk_canary.extent == HK_CANARY_PART;
    hk_store_relaxed(&cache->quick_malloc, cache->quick); /* relaxed: see cache.h */
    cache->quarantine = heap->hardened ? hk_quarantine_new(HK_QUARANTINE_THREAD) : NULL;
}

static hk_cache_t *make_cache(void)
{
    hk_cache_t *cache = hk_meta_allocate(HK_META_CACHE, sizeof *cache);
    if (cache == NULL) {
        return NULL;
    }
    *cache = hk_cache_empty;
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    attach_heap_locked(cache);
    if (cache->heap != NULL) {
        if (hk_cache_list != NULL) {
            hk_store_relaxed(&hk_harden_threads, true); /* relaxed: see harden.h */
        }
        HK_LIST_PUSH(hk_cache_list, cache, next, prev);
        count_caches_locked(cache_count + 1);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    if (cache->heap == NULL) {
        hk_meta_free(HK_META_CACHE, cache);
        return NULL;
    }
    return cache;
}

hk_cache_t *hk_thread_make_cache(void)
{
    /* A handler may have jumped out of an attachment, and so out of the gate. */
    bool inside = hk_gate_is_stranger() && attaching;
    if (thread_ended || inside || !hk_gate_enter_stranger()) {
        return NULL;
    }
    attaching = true; /* a signal handler that allocates in here gets along without a cache */
    hk_cache_t *cache = make_cache();
    if (cache != NULL) {
        set_cache(cache);
    }
    attaching = false;
    if (cache != NULL && register_end(cache)) {
        cache->own_view = &hk_thread_view;
    }
    hk_gate_leave_stranger();
    return cache;
}

/* Whether no other thread has a cache, or had one when this process was forked. */
static bool is_only_cache(void)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    const hk_cache_t *first = hk_cache_list;
    bool only =
        !others_stayed_behind && (first == NULL || (first == hk_thread_own && first->next == NULL));
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    return only;
}

static bool has_strangers(void)
{
    return hk_load_seq_cst(&hk_gate_strangers.depth) != 0;
}

/* A thread with a cache has its fast paths, which do not ask the gate.  A thread that starts is a
 * stranger before it is on the list, and one that ends before it is off the list.  So strangers are
 * looked for on both sides of the list. */
bool hk_thread_shut_out(void)
{
    if (!is_only_cache()) {
        return false;
    }
    hk_gate_close();
    for (int i = 0; i < STRANGER_YIELDS && has_strangers(); i++) {
        hk_os_yield(); /* the housekeeper's steps are short */
    }
    bool alone = !has_strangers() && is_only_cache() && !has_strangers();
    if (!alone) {
        hk_thread_let_in();
    }
    return alone;
}

void hk_thread_let_in(void)
{
    hk_gate_open();
    if (hk_load_seq_cst(&hk_gate_closed) == 0) {
        hk_refuge_close();
    }
}

void hk_thread_harden(void)
{
    hk_cache_t *cache = hk_thread_own;
    if (cache == &hk_cache_empty) {
        return;
    }
    hk_cache_flush(cache);
    cache->passes = 0;
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    hk_heap_t *before = cache->heap;
    attach_heap_locked(cache);
    if (cache->heap != before) {
        hk_heaps_detach_locked(before);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    set_cache(cache);
}

/* Yields once and tries again: the fork may be waiting for a thread that waits for this processor,
 * and then it is soon over. */
bool hk_thread_try_again(hk_cache_t *cache)
{
    if (cache == NULL && hk_gate_enter_stranger()) {
        return true;
    }
    hk_os_yield();
    return cache != NULL ? hk_gate_enter(&cache->busy) : hk_gate_enter_stranger();
}

bool hk_thread_is_inside(void)
{
    hk_busy_t *busy = &hk_thread_own->busy;
    if (hk_load_relaxed(&busy->depth) != 0 && hk_gate_enter(busy)) {
        hk_gate_leave(busy); /* puts the word right if a handler jumped out */
    }
    return hk_gate_is_stranger() ||
           hk_load_relaxed(&busy->depth) != 0; /* relaxed: this thread's own */
}

void hk_thread_each_cache(void (*visit)(const hk_cache_t *cache, void *context), void *context)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    for (const hk_cache_t *cache = hk_cache_list; cache != NULL; cache = cache->next) {
        visit(cache, context);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
}

/* ---- fork ---- */

static void fork_child(void)
{
    hk_thread_fork_child();
    if (fork_chore != NULL) {
        fork_chore();
    }
}

/* To exit's end: pthread_atfork's handlers go when the library's destructors run, and other threads
 * may fork after that.  The library is never unloaded. */
bool hk_thread_watch_forks(void)
{
    if (hk_exchange_acq_rel(&forks_watched, 1) != 0) {
        return true;
    }
#ifdef __GLIBC__
    extern int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void),
                                 void *library);
    int error = __register_atfork(hk_thread_fork_prepare, hk_thread_fork_parent, fork_child, NULL);
#else
    int error = pthread_atfork(hk_thread_fork_prepare, hk_thread_fork_parent, fork_child);
#endif
    if (error != 0) {
        hk_store_release(&forks_watched, 0);
    }
    return error == 0;
}

void hk_thread_set_chore(void (*function)(void))
{
    fork_chore = function;
}

/* In a signal handler that interrupted a slow path, or a fork that was looking at the others. */
static bool may_not_lock(void)
{
    return hk_thread_is_inside() || hk_lock_holds_any();
}

static bool others_are_busy(void)
{
    bool busy = false;
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    for (const hk_cache_t *cache = hk_cache_list; cache != NULL && !busy; cache = cache->next) {
        busy = cache != hk_thread_own && hk_load_seq_cst(&cache->busy.depth) != 0;
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    /* Behind the list: a thread that ends becomes a stranger before it leaves the list. */
    return busy || has_strangers();
}

void hk_thread_fork_prepare(void)
{
    /* The thread may hold a lock that others wait for, so the wait must end.  Such a child may
     * exec; it shares the fate of every multi-threaded program that does more there. */
    bool inside = may_not_lock();
    hk_gate_close();
    if (inside) {
        return;
    }
    while (others_are_busy()) {
        hk_os_yield();
    }
}

void hk_thread_fork_parent(void)
{
    hk_thread_let_in();
    hk_cache_t *mine = own_cache();
    if (hk_load_seq_cst(&left_caches) != 0 && !may_not_lock() && hk_thread_enter(mine)) {
        end_left_caches();
        hk_thread_leave(mine);
    }
}

void hk_thread_fork_child(void)
{
    hk_cache_t *mine = own_cache();
    hk_gate_reset();
    hk_meta_reset_lock();
    hk_large_reset_lock();
    hk_run_reset_lock();
    hk_run_shelf_reset(mine != NULL ? &mine->shelf : NULL);
    hk_retire_reset_lock();
    hk_guard_reset_lock();
    hk_nothing_reset_lock();
    hk_heaps_reset(mine != NULL ? mine->heap : NULL);
    hk_refuge_reset();
    /* The other threads' caches, and what lay in them, stay behind: their last writes may be
     * missing in the copy. */
    hk_store_relaxed(&left_caches, 0);
    others_stayed_behind |= hk_cache_list != mine || (mine != NULL && mine->next != NULL);
    hk_cache_list = mine;
    count_caches_locked(mine != NULL);
    if (mine != NULL) {
        mine->next = mine->prev = NULL;
    }
}
