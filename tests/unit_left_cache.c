/*
 * A thread that ends while another one forks waits for nobody.  It leaves its cache, which the
 * thread that forks takes out once the fork is over: with all that lies in it, and exactly once.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fork_elsewhere.h"
#include "gate.h"

enum { THREADS = 4, BLOCKS = 500, BLOCK_BYTES = 100 };

static pthread_barrier_t cached, closed;

/* It leaves what it has just freed in its magazines. */
static void *end_in_fork(void *argument)
{
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = hak_malloc(BLOCK_BYTES)) != NULL);
    for (int i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
    (void)pthread_barrier_wait(&cached);
    (void)pthread_barrier_wait(&closed);
    return argument;
}

static unsigned caches(void)
{
    unsigned count = 0;
    for (const hk_cache_t *cache = hk_cache_list; cache != NULL; cache = cache->next)
        count++;
    return count;
}

/* also_elsewhere: another thread forks too, for longer; then it takes the caches out. */
static void end_some(bool also_elsewhere)
{
    pthread_t threads[THREADS], forker = 0;
    for (int i = 0; i < THREADS; i++)
        threads[i] = test_thread(end_in_fork, NULL);
    (void)pthread_barrier_wait(&cached);
    CHECK(caches() == THREADS + 1);
    hk_gate_close();
    if (also_elsewhere)
        forker = fork_begin();
    (void)pthread_barrier_wait(&closed);
    for (int i = 0; i < THREADS; i++)
        test_join(threads[i]);
    CHECK(caches() == THREADS + 1);
    hk_thread_fork_parent();
    if (also_elsewhere) {
        CHECK(caches() == THREADS + 1);
        fork_end(forker);
    }
    CHECK(caches() == 1 && hk_cache_list == hk_thread_own);
    for (uint32_t owner = 1; owner <= THREADS; owner++) {
        const hk_heap_t *heap = hk_heap_table[owner];
        CHECK(heap != NULL && heap->threads == (heap == hk_thread_own->heap));
    }
    CHECK(hak_check() == 0);
}

/* Whoever forks is in a signal handler inside malloc and may not help.  The next thread that ends
 * does. */
static void end_when_forker_is_inside(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = test_thread(end_in_fork, NULL);
    (void)pthread_barrier_wait(&cached);
    CHECK(hk_gate_enter(&hk_thread_own->busy));
    hk_gate_close();
    (void)pthread_barrier_wait(&closed);
    for (int i = 0; i < THREADS; i++)
        test_join(threads[i]);
    hk_thread_fork_parent();
    hk_gate_leave(&hk_thread_own->busy);
    CHECK(caches() == THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        threads[i] = test_thread(end_in_fork, NULL);
    (void)pthread_barrier_wait(&cached);
    (void)pthread_barrier_wait(&closed);
    for (int i = 0; i < THREADS; i++)
        test_join(threads[i]);
    CHECK(caches() == 1);
    CHECK(hak_check() == 0);
}

/* A signal handler forks while fork looks at the other threads, under a lock. */
static void fork_under_lock(void)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    hk_thread_fork_prepare();
    hk_thread_fork_parent();
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    CHECK(hk_gate_closed == 0);
}

int main(void)
{
    CHECK(hk_thread_make_key());
    CHECK(pthread_barrier_init(&cached, NULL, THREADS + 1) == 0 &&
          pthread_barrier_init(&closed, NULL, THREADS + 1) == 0);
    hak_free(hak_malloc(BLOCK_BYTES));
    end_some(false);
    end_some(true);
    end_when_forker_is_inside();
    fork_under_lock();
    return 0;
}
