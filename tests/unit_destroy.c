/*
 * A first-class heap is destroyed in as many steps as it has superslabs, however many blocks lie in
 * them.
 *
 * Steps are locks taken and mappings given back: whatever frees a block, a slab or a superslab
 * takes a lock.
 */
#include "test.h"

#include "fake_os.h"
#include "heap.h"
#include "no_locks.h"

#include <hakmem/hakmem.h>

enum { SUPERSLABS = 12, SMALL = 16, LARGER = 8192 };

static uint64_t taken;

static void note_taken(void)
{
    taken++;
}

static void note_given_back(void) {}

typedef struct cost {
    uint64_t blocks;
    uint64_t locks;
    uint64_t unmaps;
} cost_t;

/* Of a heap that is filled until it has so many superslabs. */
static cost_t destroy_filled(size_t block_bytes, size_t superslabs)
{
    cost_t cost = {0};
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    while (((const hk_heap_t *)heap)->pool->superslabs < superslabs) {
        CHECK(hak_heap_malloc(heap, block_bytes) != NULL);
        cost.blocks++;
    }
    uint64_t taken_before = taken, unmaps_before = fake_os.unmaps;
    hak_heap_destroy(heap);
    cost.locks = taken - taken_before;
    cost.unmaps = fake_os.unmaps - unmaps_before;
    CHECK(hak_check() == 0);
    printf("%5zu bytes, %2zu superslabs: %7llu blocks, %llu locks, %llu mappings\n", block_bytes,
           superslabs, (unsigned long long)cost.blocks, (unsigned long long)cost.locks,
           (unsigned long long)cost.unmaps);
    return cost;
}

int main(void)
{
    cost_t many = destroy_filled(SMALL, SUPERSLABS);
    cost_t few = destroy_filled(LARGER, SUPERSLABS);
    CHECK(many.blocks > 100 * few.blocks);
    CHECK(many.locks == few.locks && many.unmaps == few.unmaps);
    CHECK(few.unmaps == SUPERSLABS);
    cost_t twice = destroy_filled(SMALL, 2 * (size_t)SUPERSLABS);
    CHECK(twice.unmaps == 2 * many.unmaps && twice.locks <= 2 * many.locks);
    CHECK(twice.locks > many.locks); /* so the count does see superslabs */
    return 0;
}
