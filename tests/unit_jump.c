/*
 * A signal handler jumps out of a slow path.  Whichever lock was given back last, no magazine is
 * then both in the cache and in the heap, or twice in either.  The locks of this file lock nothing,
 * but jump when they are given back.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <setjmp.h>

#include "no_locks.h"
#include "thread.h"

enum { BLOCKS = 1500, JUMPS_MAX = 400, SEEN_MAX = 4096 };

static _Thread_local unsigned releases_left; /* 0: nobody jumps */
static jmp_buf landing;

static void note_taken(void) {}

static void note_given_back(void)
{
    if (releases_left > 0 && --releases_left == 0) {
        longjmp(landing, 1);
    }
}

/* ---- Where each magazine is ---- */

static const hk_magazine_t *seen[SEEN_MAX];
static unsigned seen_count;

static void see(const hk_magazine_t *magazine)
{
    if (magazine == NULL) {
        return;
    }
    for (unsigned i = 0; i < seen_count; i++) {
        CHECK(seen[i] != magazine);
    }
    CHECK(seen_count < SEEN_MAX);
    seen[seen_count++] = magazine;
}

static void see_list(const hk_magazine_t *magazine)
{
    for (; magazine != NULL; magazine = magazine->next) {
        see(magazine);
    }
}

static void check_magazines(void)
{
    const hk_cache_t *cache = hk_thread_own;
    seen_count = 0;
    for (unsigned i = 0; i < HK_CLASS_COUNT; i++) {
        see(cache->loaded[i]);
        see(cache->previous[i]);
        see_list(cache->heap->classes[i].depot.stack);
    }
    for (unsigned slot = 0; slot < HK_OUTGOING_SLOTS; slot++) {
        see(cache->outgoing[slot].owner != 0 ? cache->outgoing[slot].magazine : NULL);
    }
    see_list(cache->spare);
    for (unsigned kind = 0; kind < HK_MAGAZINE_KINDS; kind++) {
        see_list(cache->heap->spare[kind]);
    }
    see_list(cache->heap->inbox);
}

/* ---- What is jumped out of ---- */

static void *blocks[BLOCKS];

static size_t size_of(unsigned i)
{
    return i % 3 == 0 ? 64 : i % 3 == 1 ? 400 : 6000;
}

static void allocate_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = hak_malloc(size_of(i));
        CHECK(blocks[i] != NULL);
    }
}

/* One that a jump came between is lost. */
static void free_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        void *block = blocks[i];
        blocks[i] = NULL;
        hak_free(block);
    }
}

static void *free_elsewhere(void *argument)
{
    free_all();
    return argument;
}

static void allocate_and_free(void)
{
    allocate_all();
    free_all();
}

/* Others' frees come in, and their magazines become spare ones, which go back with all else. */
static void take_in_and_flush(void)
{
    allocate_all();
    hk_cache_flush(hk_thread_own);
}

/* Jumps out behind the first lock that is given back, then behind the second, and so on, until
 * there are no more of them. */
static unsigned jump_out_of(void (*work)(void), bool others_free)
{
    volatile unsigned jumps = 0;
    for (volatile bool jumped = true; jumped && jumps < JUMPS_MAX;) {
        if (others_free) {
            allocate_all();
            test_join(test_thread(free_elsewhere, NULL));
        }
        jumped = setjmp(landing) != 0;
        if (!jumped) {
            releases_left = jumps + 1;
            work();
            jumped = releases_left == 0;
            releases_left = 0;
        } else {
            jumps = jumps + 1;
        }
        check_magazines();
    }
    return jumps;
}

static unsigned releases_wanted;

/* A thread's first call makes its cache.  Out of that, the next call makes one: and nobody is left
 * in the gate, where a fork would wait for it for ever. */
static void *jump_out_of_first(void *argument)
{
    volatile bool *jumped = argument;
    releases_left = releases_wanted;
    *jumped = setjmp(landing) != 0;
    if (!*jumped) {
        hak_free(hak_malloc(40));
        *jumped = releases_left == 0;
    }
    releases_left = 0;
    void *block = hak_malloc(40);
    CHECK(block != NULL && hk_thread_own != &hk_cache_empty);
    hak_free(block);
    CHECK(hk_gate_strangers.depth == 0);
    return NULL;
}

static unsigned jump_out_of_firsts(void)
{
    unsigned jumps = 0;
    for (bool jumped = true; jumped && jumps < JUMPS_MAX; jumps += jumped) {
        releases_wanted = jumps + 1;
        test_join(test_thread(jump_out_of_first, &jumped));
    }
    return jumps;
}

int main(void)
{
    allocate_and_free();
    CHECK(jump_out_of_firsts() > 3);
    CHECK(jump_out_of(allocate_and_free, false) > 20);
    CHECK(jump_out_of(take_in_and_flush, true) > 20);
    return 0;
}
