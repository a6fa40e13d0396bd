/*
 * A program that goes back and forth about a magazine's end does not exchange magazines all the
 * time: the older half of a full magazine moves to the previous one.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "thread.h"

enum {
    SIZE = 48,
    LARGE_SIZE = 4 << 10, /* few fit a magazine where there are many threads */
    USES = 400,           /* so that the class has magazines of its largest kind */
    HELD = 61,
    WAVES = 1000,
    WAVE = 20,
};

static unsigned loaded_count(const hk_cache_t *cache, unsigned class_index)
{
    return (unsigned)hk_magazine_loaded_count(cache->loaded[class_index], cache->top[class_index]);
}

/* Magazines of the largest kind, the previous one empty; the loaded one has just been loaded. */
static void *prepare(hk_cache_t *cache, unsigned class_index, size_t size)
{
    static void *blocks[USES];
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < USES; i++)
            CHECK((blocks[i] = hak_malloc(size)) != NULL);
        for (int i = 0; i < USES; i++)
            hak_free(blocks[i]);
    }
    while (*cache->top[class_index] != NULL || cache->previous[class_index]->count > 0)
        CHECK(hak_malloc(size) != NULL);
    void *block = hak_malloc(size);
    CHECK(block != NULL);
    return block;
}

static void test_waver(void)
{
    static void *held[2 * HELD];
    for (int i = 0; i < 2 * HELD; i++)
        CHECK((held[i] = hak_malloc(SIZE)) != NULL);
    hk_cache_t *cache = hk_thread_own;
    unsigned class_index = hk_class_of(SIZE);
    unsigned most = hk_policy_class[class_index].magazine_blocks;
    void *block = prepare(cache, class_index, SIZE);
    hk_magazine_t *loaded = cache->loaded[class_index];
    hk_magazine_t *previous = cache->previous[class_index];
    void *oldest = loaded->slot[0];
    CHECK(loaded_count(cache, class_index) == most - 1 && previous->count == 0);
    hak_free(block);
    hak_free(held[0]);
    unsigned moved = previous->count;
    CHECKF(moved > most / 3 && moved < most - most / 3, " (%u of %u)", moved, most);
    CHECK(previous->slot[0] == oldest && loaded_count(cache, class_index) == most + 1 - moved);
    for (int wave = 0; wave < WAVES; wave++) {
        void *blocks[WAVE];
        for (int i = 0; i < WAVE; i++)
            CHECK((blocks[i] = hak_malloc(SIZE)) != NULL);
        for (int i = 0; i < WAVE; i++)
            hak_free(blocks[i]);
        CHECK(cache->loaded[class_index] == loaded && previous->count == moved);
    }
    unsigned freed = 1;
    while (loaded_count(cache, class_index) < most)
        hak_free(held[freed++]);
    hak_free(held[freed++]);
    CHECK(cache->previous[class_index] == previous && previous->count == most);
    CHECK(loaded_count(cache, class_index) == freed);
    CHECK(hk_cache_count(cache, class_index) == most + freed);
    CHECK(hak_check() == 0);
}

/* A magazine that other threads filled may hold more than the class's own. */
static void test_more(void)
{
    hk_cache_t *cache = hk_thread_own;
    unsigned class_index = hk_class_of(LARGE_SIZE);
    unsigned most = hk_policy_class[class_index].load_blocks;
    hk_cache_crowded = true;
    hk_magazine_t *incoming = hk_heap_take_magazine(cache->heap, HK_MAGAZINE_KINDS - 1);
    CHECK(incoming != NULL && incoming->capacity >= 2 * most);
    for (; incoming->count < 2 * most; incoming->count++)
        CHECK((incoming->slot[incoming->count] = hak_malloc(LARGE_SIZE)) != NULL);
    void *held = hak_malloc(LARGE_SIZE);
    incoming->class_index = (uint16_t)class_index;
    incoming->marks = HK_MARKS_SET;
    (void)prepare(cache, class_index, LARGE_SIZE);
    while (*cache->top[class_index] != NULL)
        CHECK(hak_malloc(LARGE_SIZE) != NULL);
    hk_heap_hand_over(cache->heap, incoming, 0);
    hk_heap_relieve(cache->heap);
    void *block = hak_malloc(LARGE_SIZE);
    CHECK(cache->loaded[class_index] == incoming && cache->previous[class_index]->count == 0);
    hak_free(block);
    CHECK(loaded_count(cache, class_index) == 2 * most);
    hak_free(held);
    CHECK(loaded_count(cache, class_index) <= cache->loaded[class_index]->capacity);
    CHECK(hk_cache_count(cache, class_index) == 2 * most + 1);
    CHECK(hak_check() == 0);
}

int main(void)
{
    test_waver();
    test_more();
    return 0;
}
