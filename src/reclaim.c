/*
 * reclaim: see reclaim.h.
 */
#include "reclaim.h"

#include <errno.h>

#include "cap.h"
#include "heap_hole.h"
#include "large.h"
#include "retire.h"
#include "run.h"
#include "thread.h"

/* A heap's step takes up to 50 us, and a malloc should not pay for many. */
enum { OTHERS_AT_CAP = 2 };

/* Memory that one thread is giving back still counts until it is gone.  So at the limit another
 * thread, which finds nothing left to give back, must wait for that before it tries again: for who
 * reclaims as well, at this lock, and then for who gives back in a step, at a peak or at its end.
 */
static hk_lock_t reclaim_lock;

static _Atomic(hk_reclaim_notify_t) notify_program; /* atomic: set at any time */

/* owner: this thread is at work for the soft limit already: what the program's callback allocates
 * does not call it again. */
static HK_TLS bool reclaiming;

static void visit_heap(hk_heap_t *heap, void *context)
{
    const size_t *limit = context;
    hk_heap_reclaim(heap, *limit);
}

void hk_reclaim_heaps(size_t limit)
{
    hk_heaps_each_thread_heap(visit_heap, &limit);
}

/* How many pieces of 1 << shift the bytes are. */
static uint32_t count_of(size_t bytes, unsigned shift)
{
    return bytes >> shift < UINT32_MAX ? (uint32_t)(bytes >> shift) : UINT32_MAX;
}

/* A first-class heap's pool is its own, and goes with it. */
static void empty_first_class(hk_heap_t *heap, void *context)
{
    size_t *bytes = context;
    hk_heap_reclaim(heap, SIZE_MAX);
    *bytes += hk_pool_purge(heap->pool, 0, 0);
}

static size_t reclaim_all_locked(hk_cache_t *cache, size_t keep_bytes)
{
    if (cache != NULL) {
        hk_cache_flush(cache);
    }
    hk_reclaim_heaps(SIZE_MAX);
    size_t bytes = hk_large_drain();
    if (hk_pool_owned_are_warm()) { /* else nothing goes, however many heaps there are */
        hk_heaps_each_first_class(empty_first_class, &bytes);
    }
    bytes += hk_pool_part_purge(keep_bytes, count_of(keep_bytes, HK_SUPERSLAB_SHIFT));
    bytes += hk_run_purge(keep_bytes); /* last: areas that have their lent slots again go whole */
    hk_retire_drain();                 /* address space alone */
    return bytes;
}

size_t hk_reclaim_all(hk_cache_t *cache, size_t keep_bytes)
{
    hk_lock_acquire(&reclaim_lock, HK_RANK_RECLAIM);
    size_t bytes = reclaim_all_locked(cache, keep_bytes);
    hk_lock_release(&reclaim_lock, HK_RANK_RECLAIM);
    hk_limit_wait_for_leaving();
    return bytes;
}

void hk_reclaim_reset_lock(void)
{
    hk_lock_reset(&reclaim_lock);
}

static void purge_holes(hk_heap_t *heap, void *context)
{
    size_t *bytes = context;
    *bytes += hk_heap_hole_purge_all(heap);
}

size_t hk_reclaim_holes(void)
{
    size_t bytes = 0;
    hk_heaps_each_thread_heap(purge_holes, &bytes);
    return bytes;
}

bool hk_reclaim_at_cap(hk_heap_t *heap, unsigned class_index)
{
    if (!hk_cap_is_reached(class_index)) {
        return false;
    }
    hk_heap_relieve(heap);
    for (int i = 0; i < OTHERS_AT_CAP; i++) {
        hk_heap_t *other = hk_heaps_next_other(heap);
        if (other != NULL) {
            hk_heap_relieve(other);
        }
    }
    return hk_cap_give_way(class_index);
}

void hk_reclaim_set_notify(hk_reclaim_notify_t notify)
{
    hk_store_release(&notify_program, notify); /* release: pairs with the load below */
}

/* At the soft limit nobody waits for a thread that is giving back already.  False if there is
 * one. */
static bool relieve(hk_cache_t *cache)
{
    bool first = hk_lock_try_acquire(&reclaim_lock, HK_RANK_RECLAIM);
    if (first) {
        (void)reclaim_all_locked(cache, 0);
        hk_lock_release(&reclaim_lock, HK_RANK_RECLAIM);
        (void)hk_reclaim_holes();
    }
    return first;
}

/* The program may do anything in its callback, malloc too, and a fork must not wait for it: so it
 * runs outside the gate. */
void hk_reclaim_under_pressure(void)
{
    if (reclaiming || !hk_limit_take_pressure()) {
        return;
    }
    int saved = errno;
    reclaiming = true;
    hk_cache_t *cache = hk_thread_attach();
    bool done = false;
    if (hk_thread_enter(cache)) {
        done = relieve(cache);
        hk_thread_leave(cache);
    }
    if (done) {
        hk_reclaim_notify_t notify = hk_load_acquire(&notify_program);
        if (notify != NULL && hk_limit_is_exceeded()) {
            notify(hk_limit_committed_bytes(), hk_limit_get(HK_LIMIT_SOFT));
        }
        hk_limit_settle();
    } else {
        hk_limit_press_again(); /* another one may be at work for a trim, or a fork is under way */
    }
    reclaiming = false;
    errno = saved;
}
