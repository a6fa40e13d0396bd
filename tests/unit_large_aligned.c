/*
 * A block aligned to more than 2 MiB is a mapping, and one that was freed serves the next such
 * block if it happens to be aligned and large enough.
 */
#include "fake_os.h"

#include "test.h"

#include <hakmem/hakmem.h>

enum { TURNS = 100 };

static void *allocate(size_t alignment, size_t size)
{
    char *block = hak_aligned_alloc(alignment, size);
    CHECKF(block != NULL && test_is_aligned(block, alignment), " (%zu at %zu)", size, alignment);
    test_fill(block, size, size);
    return block;
}

static void release(void *block, size_t size)
{
    CHECK_PATTERN(block, size, size, size);
    hak_free(block);
}

static void again_and_again(size_t alignment, size_t size)
{
    release(allocate(alignment, size), size);
    uint64_t maps = fake_os.maps, unmaps = fake_os.unmaps;
    for (int i = 0; i < TURNS; i++)
        release(allocate(alignment, size), size);
    CHECKF(fake_os.maps == maps && fake_os.unmaps == unmaps, " (%zu at %zu)", size, alignment);
}

/* A large mapping is not cut for a small block. */
static void small_beside_large(void)
{
    hak_stats_t stats;
    (void)hak_trim(0); /* so that it is the only one kept */
    release(allocate(4 * MIB, 64 * MIB), 64 * MIB);
    void *small = allocate(4 * MIB, 4096);
    CHECK(hak_stats_get(&stats, sizeof stats) == 0 && stats.large_cached_bytes >= 64 * MIB);
    release(small, 4096);
}

/* Mappings of all alignments and sizes are kept meanwhile. */
static void among_others(void)
{
    enum { LIVE = 12 };
    static struct {
        void *block;
        size_t size;
    } live[LIVE];
    test_rng_t rng = test_rng(1);
    for (int i = 0; i < 6 * TURNS; i++) {
        size_t at = test_below(&rng, LIVE);
        if (live[at].block != NULL)
            release(live[at].block, live[at].size);
        live[at].size = test_below(&rng, 64) == 0 ? 33 * MIB : 1 + test_below(&rng, 3 * MIB);
        live[at].block = allocate((size_t)MIB << test_below(&rng, 6), live[at].size);
        fake_os_advance(test_below(&rng, 40));
    }
    for (size_t at = 0; at < LIVE; at++)
        if (live[at].block != NULL)
            release(live[at].block, live[at].size);
    CHECK(hak_check() == 0);
}

/* Nothing goes for what no address space holds. */
static void impossible(void)
{
    static const size_t most = PTRDIFF_MAX, widest = (size_t)1 << 60;
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    release(allocate(4 * MIB, 64 * MIB), 64 * MIB);
    hak_stats_t before, after;
    CHECK(hak_stats_get(&before, sizeof before) == 0 && before.large_cached_bytes >= 64 * MIB);
    CHECK(hak_malloc(most) == NULL && hak_aligned_alloc(widest, 100) == NULL);
    CHECK(hak_heap_malloc(heap, most) == NULL && errno == ENOMEM);
    CHECK(hak_heap_aligned_alloc(heap, widest, 100) == NULL && errno == ENOMEM);
    CHECK(hak_stats_get(&after, sizeof after) == 0);
    CHECKF(after.large_cached_bytes == before.large_cached_bytes &&
               after.purged_bytes == before.purged_bytes,
           " (%zu of %zu)", (size_t)after.large_cached_bytes, (size_t)before.large_cached_bytes);
    hak_heap_destroy(heap);
}

int main(void)
{
    again_and_again(4 * MIB, 100000);
    again_and_again(4 * MIB, 4 * MIB);
    again_and_again(64 * MIB, 100);
    small_beside_large();
    impossible();
    among_others();
    return 0;
}
