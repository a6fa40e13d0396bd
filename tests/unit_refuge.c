/*
 * What other threads allocate while one forks: it is as large and as aligned as at any other time.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "thread.h"

static _Atomic int step; /* of the fork: 1 the gate is closed, 2 it shall be opened */

static void *fork_elsewhere(void *argument)
{
    hk_thread_fork_prepare();
    step = 1;
    while (step != 2) {
        (void)sched_yield();
    }
    hk_thread_fork_parent();
    return argument;
}

static void during_fork(void (*work)(void))
{
    step = 0;
    pthread_t forker = test_thread(fork_elsewhere, NULL);
    while (step != 1) {
        (void)sched_yield();
    }
    work();
    step = 2;
    test_join(forker);
    CHECK(hak_check() == 0);
}

/* All of what is usable may be written to. */
static void check_block(char *block, size_t size)
{
    CHECK(block != NULL);
    size_t usable = hak_usable_size(block);
    CHECKF(usable >= hak_good_size(size), " (size %zu, usable %zu)", size, usable);
    memset(block, 1, usable);
    hak_free(block);
}

static hak_heap_t *heap;

static void allocate_sizes(void)
{
    for (size_t size = 1; size < 4 * MIB; size += size / 7 + 1) {
        check_block(hak_malloc(size), size);
        check_block(hak_calloc(1, size), size);
        check_block(hak_heap_malloc(heap, size), size);
    }
}

int main(void)
{
    heap = hak_heap_create();
    CHECK(heap != NULL);
    during_fork(allocate_sizes);
    allocate_sizes();
    hak_heap_destroy(heap);
    return 0;
}
