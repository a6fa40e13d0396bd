/*
 * A slab's bitmap against a plain list: whatever pattern of free blocks, taking gives the lowest
 * ones in order, and each block once; putting back what was taken makes the slab whole.
 */
#include "test.h"

#include <sys/mman.h>

#include "heap.h"
#include "live.h"
#include "superslab.h"

enum { PATTERNS = 4000, MOST = 100 };

static hk_slab_t *slab;
static unsigned block_count;
static bool is_free[HK_SLAB_BLOCKS_MAX];

static char *block(unsigned index)
{
    return hk_slab_base(slab) + (size_t)index * hk_class_info[slab->class_index].block_bytes;
}

static void put(unsigned index)
{
    void *address = block(index);
    CHECK(!is_free[index] && hk_slab_put(slab, &address, 1) == 1);
    is_free[index] = true;
}

/* Takes count, which must be the lowest; there are as many, or the slab has no more. */
static void take(unsigned count)
{
    void *taken[MOST];
    unsigned done = hk_slab_take(slab, taken + MOST, count);
    unsigned index = 0;
    CHECK(done <= count && done <= MOST);
    for (unsigned i = 0; i < done; i++, index++) {
        while (index < block_count && !is_free[index])
            index++;
        CHECK(index < block_count && taken[MOST - 1 - i] == block(index));
        is_free[index] = false;
    }
    while (done < count && index < block_count)
        CHECK(!is_free[index++]);
}

static void check_bits(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < block_count; i++) {
        CHECK((hk_slab_probe(slab, block(i)) == HK_PUT_DOUBLE) == is_free[i]);
        count += is_free[i];
    }
    CHECK(count == slab->free_blocks);
}

static void take_all(void)
{
    while (slab->free_blocks > 0)
        take(MOST);
    check_bits();
}

/* A row of each length at each place about two words' border, taken whole, in part, and with
 * another block above it. */
static void test_rows(void)
{
    for (unsigned first = 0; first < 66 && first < block_count; first++) {
        for (unsigned length = 1; first + length <= block_count && length <= 66; length++) {
            for (unsigned i = 0; i < length; i++)
                put(first + i);
            if (first + length + 1 < block_count && (first + length) % 2 == 0)
                put(first + length + 1);
            take(1 + (first + length) % (length + 1));
            check_bits();
            take_all();
        }
    }
}

static void test_random(void)
{
    test_rng_t rng = test_rng(block_count);
    for (unsigned pattern = 0; pattern < PATTERNS; pattern++) {
        unsigned sparse = 1 + (unsigned)(test_next(&rng) % 4); /* one block in so many */
        for (unsigned i = 0; i < block_count && i < 300; i++) {
            if (!is_free[i] && test_next(&rng) % sparse == 0)
                put(i);
        }
        for (unsigned i = 0; i < 4; i++)
            take((unsigned)(test_next(&rng) % MOST));
        if (pattern % 16 == 0)
            check_bits();
    }
    take_all();
}

/* The whole slab, in pieces of all sizes; and back in pieces. */
static void test_whole(void)
{
    for (unsigned i = 0; i < block_count; i++)
        put(i);
    check_bits();
    for (unsigned piece = 1; slab->free_blocks > 0; piece = piece % MOST + 1)
        take(piece);
    check_bits();
}

static bool has_live_page(const hk_slab_t *one)
{
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t page = (uintptr_t)hk_live_word(hk_slab_base(one)) & ~(page_bytes - 1);
    unsigned char resident;
    CHECK(mincore((void *)page, 1, &resident) == 0);
    return (resident & 1) != 0;
}

/* A slab whose blocks have live bits has their page before its first block is handed out.  The
 * slabs lie so far apart that each has another page. */
static void test_touches_live_bits(void)
{
    hk_heap_t *heap = hk_heap_new(HK_OWNER_NONE, NULL);
    hk_slab_t *first = hk_pool_acquire(heap->pool, heap, 8, HK_CLASS_COUNT - 1);
    hk_slab_t *second = hk_pool_acquire(heap->pool, heap, 8, HK_CLASS_COUNT - 1);
    CHECK(first->superslab == second->superslab);
    hk_slab_start(first, HK_OWNER_NONE);
    CHECK(!has_live_page(first) && !has_live_page(second)); /* a first-class heap's have none */
    hk_slab_start(second, 5);
    CHECK(has_live_page(second) && hk_live_count_units(hk_slab_base(second), 8) == 0);
    hk_slab_stop(second, 5);
    hk_heap_delete(heap);
}

int main(void)
{
    test_touches_live_bits();
    hk_heap_t *heap = hk_heap_new(HK_OWNER_NONE, NULL);
    CHECK(heap != NULL);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index += 7) {
        slab = hk_pool_acquire(heap->pool, heap, hk_class_info[class_index].units,
                               (uint8_t)class_index);
        CHECK(slab != NULL);
        hk_slab_start(slab, HK_OWNER_NONE);
        block_count = hk_class_info[class_index].block_count;
        for (unsigned i = 0; i < block_count; i++)
            is_free[i] = true;
        take_all();
        test_rows();
        test_random();
        test_whole();
    }
    return 0;
}
