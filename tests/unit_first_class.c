/*
 * What is free in first-class heaps goes back: as the program goes on freeing in them, by a trim,
 * where another block needs it at the limit, and by the housekeeper.
 */
#include "fake_os.h"

#include "test.h"

#include <hakmem/hakmem.h>

#include "heaps.h"
#include "housekeeper.h"

enum {
    BLOCK_BYTES = 1024,
    BLOCKS = 20 << 10, /* 20 MiB */
    TURNS = 4000,
    EPOCH_MS = 300,
    LEFT_BYTES = 2 << 20, /* what a pool keeps, and a slab or two */
};

static void *blocks[2][BLOCKS];

static hak_heap_t *fill(int number)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    for (int i = 0; i < BLOCKS; i++) {
        CHECK((blocks[number][i] = hak_heap_malloc(heap, BLOCK_BYTES)) != NULL);
    }
    return heap;
}

/* All but the first so many. */
static void empty(int number, int kept)
{
    for (int i = kept; i < BLOCKS; i++) {
        hak_free(blocks[number][i]);
    }
}

static size_t warm_bytes(const hak_heap_t *heap)
{
    return hk_pool_warm_bytes(((const hk_heap_t *)heap)->pool);
}

static void two_heaps_by_turns(void)
{
    hak_heap_t *heaps[2] = {fill(0), fill(1)};
    empty(0, TURNS);
    empty(1, TURNS);
    CHECK(warm_bytes(heaps[0]) > BLOCKS * BLOCK_BYTES / 2);
    for (int i = 0; i < TURNS; i++) {
        hak_free(blocks[0][i]);
        hak_free(blocks[1][i]);
        fake_os_advance(2);
    }
    CHECKF(warm_bytes(heaps[0]) <= LEFT_BYTES, " (%zu)", warm_bytes(heaps[0]));
    CHECKF(warm_bytes(heaps[1]) <= LEFT_BYTES, " (%zu)", warm_bytes(heaps[1]));
    hak_heap_destroy(heaps[0]);
    hak_heap_destroy(heaps[1]);
}

static void trim(void)
{
    hak_heap_t *heap = fill(0);
    empty(0, 1);
    size_t before = hak_limit_committed();
    CHECK(hak_trim(0) == 1);
    CHECK(warm_bytes(heap) == 0);
    CHECK(hak_limit_committed() + BLOCKS * BLOCK_BYTES / 4 * 3 < before);
    CHECK(hak_check() == 0);
    hak_heap_destroy(heap);
}

static void at_the_limit(void)
{
    (void)hak_trim(0);
    hak_heap_t *heap = fill(0);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed() + (4 << 20)) == 0);
    (void)hak_limit_release_reserve();
    size_t size = BLOCKS * BLOCK_BYTES / 4 * 3;
    CHECK(hak_malloc(size) == NULL);
    empty(0, 1);
    void *block = hak_malloc(size);
    CHECK(block != NULL);
    hak_free(block);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    hak_heap_destroy(heap);
}

static void by_the_housekeeper(void)
{
    hak_heap_t *heap = fill(0);
    empty(0, 1);
    CHECK(warm_bytes(heap) > BLOCKS * BLOCK_BYTES / 2);
    CHECK(hak_housekeeper_start() == 0);
    for (int i = 0; i < 10000 && warm_bytes(heap) > LEFT_BYTES; i++) {
        fake_os_advance(EPOCH_MS);
        usleep(1000);
    }
    CHECKF(warm_bytes(heap) <= LEFT_BYTES, " (%zu)", warm_bytes(heap));
    hak_housekeeper_stop();
    hak_heap_destroy(heap);
}

int main(void)
{
    two_heaps_by_turns();
    trim();
    at_the_limit();
    by_the_housekeeper();
    return 0;
}
