/*
 * A seeded random sequence over the whole family, in the common heap and in heaps that come and go,
 * against a shadow: a sorted map of all live blocks shows overlaps at once, patterns show writes
 * that were lost or went astray.
 *
 *     stress_shadow [seed [operations]]
 */
#include "hak_names.h"

enum { SLOTS = 4096, HEAPS = 2, MAX_BITS = 22 };

#define LIVE_LIMIT (200 * MIB)

typedef struct block {
    unsigned char *start;
    size_t size;      /* as asked for */
    size_t usable;    /* as told then */
    size_t alignment; /* as asked for, or 0: plain */
    uint64_t id;
    int heap; /* 0 the common heap, else an index into heaps[] + 1 */
} block_t;

static block_t blocks[SLOTS];
static hak_heap_t *heaps[HEAPS];
static size_t live_bytes, live_count;
static uint64_t seed, operation, next_id;

/* ---- the shadow: live intervals, sorted by address ---- */

typedef struct interval {
    uintptr_t start, end;
} interval_t;

static interval_t shadow[SLOTS];
static size_t shadow_count;

#define EXPECT(cond)                                                                               \
    CHECKF(cond, " (seed %llu, operation %llu)", (unsigned long long)seed,                         \
           (unsigned long long)operation)

static size_t shadow_position(uintptr_t start)
{
    size_t low = 0, high = shadow_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (shadow[middle].start < start) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void shadow_add(const void *start, size_t bytes)
{
    interval_t fresh = {(uintptr_t)start, (uintptr_t)start + (bytes == 0 ? 1 : bytes)};
    EXPECT(shadow_count < SLOTS);
    size_t at = shadow_position(fresh.start);
    if (at > 0)
        EXPECT(shadow[at - 1].end <= fresh.start);
    if (at < shadow_count)
        EXPECT(fresh.end <= shadow[at].start);
    memmove(&shadow[at + 1], &shadow[at], (shadow_count - at) * sizeof shadow[0]);
    shadow[at] = fresh;
    shadow_count++;
}

static void shadow_remove(const void *start)
{
    size_t at = shadow_position((uintptr_t)start);
    EXPECT(at < shadow_count && shadow[at].start == (uintptr_t)start);
    shadow_count--;
    memmove(&shadow[at], &shadow[at + 1], (shadow_count - at) * sizeof shadow[0]);
}

/* ---- operations ---- */

static void verify(const block_t *block)
{
    EXPECT(t_usable_size(block->start) == block->usable);
    size_t wrong = test_verify(block->start, block->usable, block->usable, block->id);
    CHECKF(wrong == SIZE_MAX,
           " (seed %llu, operation %llu: block %p of %zu bytes, usable %zu, wrong at %zu)",
           (unsigned long long)seed, (unsigned long long)operation, (void *)block->start,
           block->size, block->usable, wrong);
}

static void adopt(block_t *block, void *start, size_t size, size_t alignment, int heap)
{
    EXPECT(start != NULL);
    size_t least = alignment > 8 ? alignment : 8;
    if (size >= 16 && least < 16)
        least = 16;
    EXPECT(test_is_aligned(start, least));
    size_t usable = t_usable_size(start);
    EXPECT(usable >= size);
    *block = (block_t){(unsigned char *)start, size, usable, alignment, next_id++, heap};
    shadow_add(start, usable);
    test_fill(start, usable, block->id);
    live_bytes += usable;
    live_count++;
}

static void forget(block_t *block)
{
    shadow_remove(block->start);
    live_bytes -= block->usable;
    live_count--;
    block->start = NULL;
}

static void drop(block_t *block, test_rng_t *rng)
{
    verify(block);
    block_t old = *block;
    forget(block);
    switch (test_below(rng, 4)) {
    case 0:
        if (old.alignment == 0) {
            t_free_sized(old.start, old.size);
        } else {
            t_free_aligned_sized(old.start, old.alignment, old.size);
        }
        break;
    case 1: EXPECT(t_realloc(old.start, 0) == NULL); break;
    default: t_free(old.start); break;
    }
}

static void take(block_t *block, test_rng_t *rng)
{
    /* Mostly small sizes among the log-distributed ones, so that slots do not all end up full of
     * large blocks. */
    size_t size = test_log_size(rng, test_below(rng, 8) == 0 ? MAX_BITS : 14);
    int heap = test_below(rng, 4) == 0 ? 1 + (int)test_below(rng, HEAPS) : 0;
    hak_heap_t *in = heap == 0 ? NULL : heaps[heap - 1];
    size_t alignment = 0;
    void *start;
    switch (test_below(rng, 6)) {
    case 0:
    case 1: {
        size_t count = test_below(rng, 2) == 0 || size % 4 != 0 ? 1 : 4;
        start = in != NULL ? t_heap_calloc(in, count, size / count) : t_calloc(count, size / count);
        EXPECT(start != NULL);
        EXPECT(test_is_filled_with(start, 0, size));
        break;
    }
    case 2:
        alignment = (size_t)1 << test_below(rng, test_below(rng, 16) == 0 ? 22 : 13);
        start = in != NULL ? t_heap_aligned_alloc(in, alignment, size)
                           : t_aligned_alloc(alignment, size);
        break;
    default: start = in != NULL ? t_heap_malloc(in, size) : t_malloc(size); break;
    }
    adopt(block, start, size, alignment, heap);
}

static void resize(block_t *block, test_rng_t *rng)
{
    verify(block);
    block_t old = *block;
    forget(block);
    size_t size;
    switch (test_below(rng, 3)) {
    case 0: size = old.size + test_below(rng, 64) + 1; break;
    case 1: size = old.size / 2 + 1; break;
    default: size = test_log_size(rng, test_below(rng, 8) == 0 ? MAX_BITS : 14) + 1; break;
    }
    void *start;
    if (old.heap != 0 && test_below(rng, 2) == 0) {
        start = t_heap_realloc(heaps[old.heap - 1], old.start, size);
    } else if (test_below(rng, 4) == 0) {
        start = t_reallocarray(old.start, 1, size);
    } else {
        start = t_realloc(old.start, size);
    }
    EXPECT(start != NULL);
    size_t kept = old.size < size ? old.size : size;
    EXPECT(test_verify(start, kept, old.usable, old.id) == SIZE_MAX);
    adopt(block, start, size, 0, old.heap);
}

static void replace_heap(int index)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (blocks[i].start == NULL || blocks[i].heap != index + 1)
            continue;
        verify(&blocks[i]);
        forget(&blocks[i]);
    }
    hak_heap_destroy(heaps[index]);
    heaps[index] = hak_heap_create();
    EXPECT(heaps[index] != NULL);
}

int main(int argc, char **argv)
{
    seed = test_arg(argc, argv, 1, 20240601);
    uint64_t operations = test_arg(argc, argv, 2, TEST_SANITIZED ? 60000 : 400000);
    printf("stress_shadow: seed %llu, %llu operations\n", (unsigned long long)seed,
           (unsigned long long)operations);
    fflush(stdout);
    test_rng_t rng = test_rng(seed);
    for (int i = 0; i < HEAPS; i++) {
        heaps[i] = hak_heap_create();
        CHECK(heaps[i] != NULL);
    }
    /* The slots in use swell and shrink, so that slabs fill up, empty and go back. */
    size_t in_use = 64;
    for (operation = 0; operation < operations; operation++) {
        if (operation % 5000 == 0) {
            EXPECT(t_check() == 0);
            in_use = (size_t)32 << test_below(&rng, 8);
            for (size_t i = in_use; i < SLOTS; i++) {
                if (blocks[i].start != NULL)
                    drop(&blocks[i], &rng);
            }
            if (test_below(&rng, 4) == 0)
                (void)hak_trim(test_below(&rng, 2) * MIB);
        }
        if (operation % 7919 == 7918)
            replace_heap((int)test_below(&rng, HEAPS));
        block_t *block = &blocks[test_below(&rng, in_use)];
        if (block->start == NULL) {
            take(block, &rng);
        } else if (test_below(&rng, 4) == 0) {
            resize(block, &rng);
        } else {
            drop(block, &rng);
        }
        while (live_bytes > LIVE_LIMIT) {
            block_t *victim = &blocks[test_below(&rng, SLOTS)];
            if (victim->start != NULL)
                drop(victim, &rng);
        }
    }
    for (size_t i = 0; i < SLOTS; i++) {
        if (blocks[i].start != NULL)
            drop(&blocks[i], &rng);
    }
    CHECK(live_count == 0 && live_bytes == 0 && shadow_count == 0);
    for (int i = 0; i < HEAPS; i++)
        hak_heap_destroy(heaps[i]);
    EXPECT(t_check() == 0);
    puts("stress_shadow: ok");
    return 0;
}
