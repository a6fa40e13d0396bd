/*
 * Calls that enter the gate inside the gate.  Whatever frames the compiler makes, the inner entry
 * must not be taken for one after a jump out of the gate; otherwise the thread's word would stay
 * wrong, and a fork would wait for ever.
 */
#include "test.h"

#include <errno.h>
#include <hakmem/hakmem.h>

#include "thread.h"

/* Each could be granted, but not both. */
enum { HELD_BYTES = 6 << 20, REFUSED_BYTES = 10 << 20 };

static uint32_t depth(void)
{
    return hk_load_relaxed(&hk_thread_own->busy.depth);
}

static void *fail_in_heap(void *argument)
{
    hak_heap_t *heap = argument;
    errno = 0;
    CHECK(hak_heap_malloc(heap, REFUSED_BYTES) == NULL && errno == ENOMEM); /* and has trimmed */
    CHECK(hk_thread_own != &hk_cache_empty);
    CHECK(depth() == 0);
    CHECK(hk_gate_strangers.depth == 0);
    return NULL;
}

int main(void)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 16 << 20) == 0);
    CHECK(hak_heap_malloc(heap, HELD_BYTES) != NULL);
    (void)fail_in_heap(heap);
    test_join(test_thread(fail_in_heap, heap));
    hak_heap_destroy(heap);
    CHECK(depth() == 0);
    CHECK(hak_trim(0) >= 0 && depth() == 0);
    CHECK(hak_check() == 0 && depth() == 0);
    return 0;
}
