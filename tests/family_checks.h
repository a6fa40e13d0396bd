/*
 * The semantics of the malloc family, on the t_* names: api_family.c runs these on hak_*,
 * libc_family.c on the libc names.
 */
#ifndef HAKMEM_FAMILY_CHECKS_H
#define HAKMEM_FAMILY_CHECKS_H

#include "hak_names.h"

#define FAM_ABOVE_MAX ((size_t)PTRDIFF_MAX + 1)

/* Sizes in rising order from 1 to about 8 MiB: powers of two, their neighbours, and points between.
 * */
typedef struct fam_ladder {
    size_t count;
    size_t sizes[160];
} fam_ladder_t;

static inline fam_ladder_t fam_ladder(void)
{
    static const unsigned between[] = {9, 11, 13}; /* eighths */
    fam_ladder_t ladder = {0, {0}};
    for (size_t power = 8; power <= 8 * MIB; power *= 2) {
        ladder.sizes[ladder.count++] = power - 1;
        ladder.sizes[ladder.count++] = power;
        ladder.sizes[ladder.count++] = power + 1;
        if (power < 64 || power == 8 * MIB)
            continue;
        for (size_t i = 0; i < TEST_COUNT(between); i++) {
            ladder.sizes[ladder.count++] = power / 8 * between[i] + i;
        }
    }
    CHECK(ladder.count <= TEST_COUNT(ladder.sizes));
    return ladder;
}

/* A fresh block of `size` bytes is aligned, large enough, and its whole usable size can be written.
 * */
static inline void fam_take(void *block, size_t size, size_t alignment)
{
    CHECKF(block != NULL, " (size %zu, alignment %zu, errno %d)", size, alignment, errno);
    CHECKF(test_is_aligned(block, alignment), " (block %p, size %zu, alignment %zu)", block, size,
           alignment);
    size_t usable = t_usable_size(block);
    CHECKF(usable >= size, " (usable %zu, size %zu)", usable, size);
    test_fill(block, usable, (uint64_t)size);
    CHECK(t_usable_size(block) == usable);
}

static inline size_t fam_natural_alignment(size_t size)
{
    return size >= 16 ? 16 : 8;
}

/* Every size from 0 to 70,000 by malloc, 256 of them live at once. */
static inline void fam_every_size(void)
{
    enum { RING = 256 };
    struct {
        void *block;
        size_t size, usable;
    } ring[RING] = {{NULL, 0, 0}};
    for (size_t size = 0; size <= 70000 + RING; size++) {
        size_t slot = size % RING;
        if (ring[slot].block != NULL) {
            CHECK(t_usable_size(ring[slot].block) == ring[slot].usable);
            CHECK_PATTERN(ring[slot].block, ring[slot].usable, ring[slot].usable, ring[slot].size);
            t_free(ring[slot].block);
            ring[slot].block = NULL;
        }
        if (size > 70000)
            continue;
        void *block = t_malloc(size);
        fam_take(block, size, fam_natural_alignment(size));
        ring[slot].block = block;
        ring[slot].size = size;
        ring[slot].usable = t_usable_size(block);
    }
}

/* malloc(0), calloc(0, n), realloc(NULL, 0) give blocks, each its own. */
static inline void fam_zero_sizes(void)
{
    enum { COUNT = 600 };
    void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        switch (i % 4) {
        case 0: blocks[i] = t_malloc(0); break;
        case 1: blocks[i] = t_calloc(0, i); break;
        case 2: blocks[i] = t_calloc(i, 0); break;
        default: blocks[i] = t_realloc(NULL, 0); break;
        }
        CHECK(blocks[i] != NULL);
        CHECK(test_is_aligned(blocks[i], 8));
        for (size_t j = 0; j < i; j++)
            CHECK(blocks[i] != blocks[j]);
    }
    for (size_t i = 0; i < COUNT; i++)
        t_free(blocks[i]);
    void *block = t_calloc(0, SIZE_MAX);
    CHECK(block != NULL);
    t_free(block);
    t_free(NULL);
    t_free_sized(NULL, 0);
    t_free_sized(NULL, 100);
    t_free_aligned_sized(NULL, 64, 100);
    CHECK(t_usable_size(NULL) == 0);
}

#define FAM_CHECK_FAILS(call, error)                                                               \
    do {                                                                                           \
        errno = 0;                                                                                 \
        void *got_ = (call);                                                                       \
        CHECKF(got_ == NULL, " (%s gave %p)", #call, got_);                                        \
        CHECKF(errno == (error), " (%s set errno %d)", #call, errno);                              \
    } while (0)

/* What cannot be served fails with ENOMEM and harms nothing. */
static inline void fam_too_big(void)
{
    for (size_t below = 0; below < 70000; below += below < 5000 ? 1 : 97) {
        FAM_CHECK_FAILS(t_malloc(SIZE_MAX - below), ENOMEM);
        FAM_CHECK_FAILS(t_calloc(1, SIZE_MAX - below), ENOMEM);
        FAM_CHECK_FAILS(t_aligned_alloc(64, SIZE_MAX - below), ENOMEM);
        FAM_CHECK_FAILS(t_realloc(NULL, SIZE_MAX - below), ENOMEM);
        FAM_CHECK_FAILS(t_malloc(FAM_ABOVE_MAX + below), ENOMEM);
        FAM_CHECK_FAILS(t_malloc((size_t)PTRDIFF_MAX - below), ENOMEM);
        FAM_CHECK_FAILS(t_aligned_alloc(4 * KIB, (size_t)PTRDIFF_MAX - below), ENOMEM);
        FAM_CHECK_FAILS(t_calloc((size_t)PTRDIFF_MAX - below, 1), ENOMEM);
    }
    for (unsigned shift = 1; shift < 64; shift++) {
        size_t count = (size_t)1 << shift;
        FAM_CHECK_FAILS(t_calloc(count, SIZE_MAX / count + 1), ENOMEM);
        FAM_CHECK_FAILS(t_calloc(SIZE_MAX / count + 1, count), ENOMEM);
        FAM_CHECK_FAILS(t_calloc(count + 1, SIZE_MAX / count + 1), ENOMEM);
        FAM_CHECK_FAILS(t_reallocarray(NULL, count, SIZE_MAX / count + 1), ENOMEM);
        FAM_CHECK_FAILS(t_calloc(count, FAM_ABOVE_MAX / count), ENOMEM);
    }
    for (size_t alignment = 16; alignment <= FAM_ABOVE_MAX / 2; alignment *= 2) {
        FAM_CHECK_FAILS(t_aligned_alloc(alignment, FAM_ABOVE_MAX), ENOMEM);
        FAM_CHECK_FAILS(t_aligned_alloc(alignment, SIZE_MAX - alignment + 1), ENOMEM);
        FAM_CHECK_FAILS(t_aligned_alloc(alignment, SIZE_MAX), ENOMEM);
    }
    FAM_CHECK_FAILS(t_aligned_alloc((size_t)1 << 62, 16), ENOMEM);
    FAM_CHECK_FAILS(t_aligned_alloc((size_t)1 << 63, 1), ENOMEM);

    /* A failed resize leaves the block as it was. */
    static const size_t sizes[] = {1, 24, 1000, 5000, 40000, 70000, 300000, 3 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        CHECK(block != NULL);
        size_t usable = t_usable_size(block);
        test_fill(block, sizes[i], i * 8);
        FAM_CHECK_FAILS(t_realloc(block, SIZE_MAX), ENOMEM);
        FAM_CHECK_FAILS(t_realloc(block, FAM_ABOVE_MAX), ENOMEM);
        FAM_CHECK_FAILS(t_realloc(block, (size_t)PTRDIFF_MAX - 10), ENOMEM);
        FAM_CHECK_FAILS(t_reallocarray(block, SIZE_MAX / 2, 3), ENOMEM);
        FAM_CHECK_FAILS(t_reallocarray(block, (size_t)1 << 32, (size_t)1 << 32), ENOMEM);
        CHECK(t_usable_size(block) == usable);
        CHECK_PATTERN(block, sizes[i], sizes[i], i * 8);
        t_free(block);
    }
}

/* calloc's blocks are zero, also where dirty blocks of the same size were freed just before. */
static inline void fam_calloc_zero(void)
{
    enum { BATCH = 6 };
    fam_ladder_t ladder = fam_ladder();
    for (size_t round = 0; round < ladder.count + 700; round++) {
        size_t size = round < ladder.count ? ladder.sizes[round] : (round - ladder.count) * 101 + 1;
        void *blocks[BATCH];
        for (size_t i = 0; i < BATCH; i++) {
            blocks[i] = t_malloc(size);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], 0xa5, t_usable_size(blocks[i]));
        }
        for (size_t i = 0; i < BATCH; i++)
            t_free(blocks[i]);
        for (size_t i = 0; i < BATCH; i++) {
            size_t unit = size % 8 == 0 ? 8 : size % 3 == 0 ? 3 : 1;
            blocks[i] = i % 2 == 0 ? t_calloc(size / unit, unit) : t_calloc(unit, size / unit);
            CHECK(blocks[i] != NULL);
            CHECK(test_is_aligned(blocks[i], fam_natural_alignment(size)));
            CHECKF(test_is_filled_with(blocks[i], 0, size), " (calloc of %zu bytes)", size);
            memset(blocks[i], 0x5a, t_usable_size(blocks[i]));
        }
        for (size_t i = 0; i < BATCH; i++)
            t_free(blocks[i]);
    }
}

/* realloc from every size of the ladder to every other, and from each to its neighbours one byte
 * off. */
static inline void fam_realloc_pairs(void)
{
    fam_ladder_t ladder = fam_ladder();
    size_t step = TEST_SANITIZED ? 3 : 1;
    uint64_t id = 1;
    for (size_t from = 0; from < ladder.count; from += step) {
        for (size_t to = 0; to < ladder.count; to += step, id++) {
            size_t old_size = ladder.sizes[from], new_size = ladder.sizes[to];
            void *block = t_malloc(old_size);
            CHECK(block != NULL);
            test_fill(block, old_size, id);
            block = id % 2 == 0 ? t_realloc(block, new_size) : t_reallocarray(block, new_size, 1);
            CHECKF(block != NULL, " (%zu to %zu)", old_size, new_size);
            CHECK(test_is_aligned(block, fam_natural_alignment(new_size)));
            CHECK(t_usable_size(block) >= new_size);
            CHECK_PATTERN(block, new_size, old_size, id);
            test_fill(block, t_usable_size(block), id + 1);
            t_free(block);
        }
    }
}

/* One block that creeps: a byte at a time to 5,000 and back, then by half to over 8 MiB and back.
 * */
static inline void fam_realloc_creep(void)
{
    void *block = NULL;
    size_t held = 0;
    for (size_t i = 1; i < 10000; i++) {
        size_t size = i <= 5000 ? i : 10000 - i;
        void *moved = t_realloc(block, size);
        CHECK(moved != NULL);
        if (block != NULL)
            CHECK_PATTERN(moved, held < size ? held : size, held, held);
        block = moved;
        test_fill(block, size, size);
        held = size;
    }
    for (int up = 1; up >= 0; up--) {
        while (up ? held < 10 * MIB : held > 1) {
            size_t size = up ? held + held / 2 + 1 : held - held / 3 - (held < 3);
            block = t_realloc(block, size);
            CHECK(block != NULL);
            CHECK_PATTERN(block, held < size ? held : size, held, held);
            test_fill(block, size, size);
            held = size;
        }
    }
    t_free(block);
}

/* A large block next to others, grown far: its bytes come along, and nobody else's are touched. */
static inline void fam_realloc_large(void)
{
    enum { COUNT = 5 };
    unsigned char *blocks[COUNT];
    size_t sizes[COUNT];
    size_t top = TEST_SANITIZED ? 24 * MIB : 64 * MIB;
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = 700 * KIB + i * 123457;
        blocks[i] = (unsigned char *)t_malloc(sizes[i]);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], sizes[i], i + 1);
    }
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < COUNT; i++) {
            size_t size = sizes[i] + sizes[i] / 2 + i;
            if (size > top)
                continue;
            more = true;
            blocks[i] = (unsigned char *)t_realloc(blocks[i], size);
            CHECK(blocks[i] != NULL);
            CHECK_PATTERN(blocks[i], sizes[i], sizes[i], i + 1);
            test_fill(blocks[i], size, i + 1);
            sizes[i] = size;
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_PATTERN(blocks[i], sizes[i], sizes[i], i + 1);
        t_free(blocks[i]);
    }
}

/* A block that is trimmed by more than a quarter takes less memory, and has what it had. */
static inline void fam_realloc_trim(void)
{
    for (size_t size = 128; size <= 20000000; size += size / 3) {
        unsigned char *block = (unsigned char *)t_malloc(size);
        CHECK(block != NULL);
        size_t usable = t_usable_size(block), trimmed = usable * 5 / 8;
        size_t step = size / 5000 + 1;
        for (size_t i = 0; i < size; i += step)
            block[i] = (unsigned char)(size % 251);
        block = (unsigned char *)t_realloc(block, trimmed);
        CHECK(block != NULL);
        CHECKF(t_usable_size(block) < usable / 4 * 3, " (%zu bytes trimmed to %zu: %zu)", usable,
               trimmed, t_usable_size(block));
        for (size_t i = 0; i < trimmed && i < size; i += step)
            CHECKF(block[i] == size % 251, " (%zu bytes, at %zu)", size, i);
        t_free(block);
    }
}

/* realloc(p, 0) frees p and returns NULL; if it did not free, 16 GiB of address space would be
 * gone. */
static inline void fam_realloc_zero(void)
{
    static const size_t sizes[] = {0, 1, 100, 5000, 70000, 2 * MIB, 9 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        CHECK(block != NULL);
        CHECK(t_realloc(block, 0) == NULL);
        block = t_malloc(sizes[i]);
        CHECK(block != NULL);
        CHECK(t_reallocarray(block, 0, 8) == NULL);
    }
    size_t before = test_vm_bytes();
    for (size_t i = 0; i < 16 * KIB; i++) {
        void *block = t_malloc(1 * MIB);
        CHECK(block != NULL);
        CHECK(t_realloc(block, 0) == NULL);
        block = t_malloc(16 * KIB);
        CHECK(block != NULL);
        CHECK(t_realloc(block, 0) == NULL);
    }
    size_t after = test_vm_bytes();
    CHECKF(after < before + 256 * MIB, " (address space %zu then %zu)", before, after);
}

/* Every power of two to 4 MiB with sizes below, at and above it. */
static inline void fam_aligned(void)
{
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        const size_t sizes[] = {0,
                                1,
                                7,
                                8,
                                15,
                                16,
                                17,
                                24,
                                48,
                                100,
                                112,
                                500,
                                1000,
                                3000,
                                4096,
                                5000,
                                20000,
                                65535,
                                65536,
                                70000,
                                300001,
                                MIB + 3,
                                alignment - 1,
                                alignment,
                                alignment + 1,
                                alignment / 2 + 1,
                                3 * alignment + 5};
        struct {
            void *block;
            size_t usable;
        } held[TEST_COUNT(sizes)];
        for (size_t round = 0; round < 3; round++) {
            for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
                void *block = t_aligned_alloc(alignment, sizes[i]);
                fam_take(block, sizes[i], alignment < 8 ? 8 : alignment);
                held[i].block = block;
                held[i].usable = t_usable_size(block);
            }
            for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
                CHECK(t_usable_size(held[i].block) == held[i].usable);
                CHECK_PATTERN(held[i].block, held[i].usable, held[i].usable, sizes[i]);
                if (round == 0) {
                    t_free(held[i].block);
                } else if (round == 1) {
                    t_free_aligned_sized(held[i].block, alignment, sizes[i]);
                } else {
                    size_t size = sizes[i] * 2 + 1;
                    void *block = t_realloc(held[i].block, size);
                    CHECK(block != NULL);
                    CHECK_PATTERN(block, sizes[i], held[i].usable, sizes[i]);
                    t_free(block);
                }
            }
        }
    }
}

/* free leaves errno alone, for blocks of every kind. */
static inline void fam_free_keeps_errno(void)
{
    fam_ladder_t ladder = fam_ladder();
    for (size_t i = 0; i < ladder.count; i++) {
        void *one = t_malloc(ladder.sizes[i]);
        void *two = t_malloc(ladder.sizes[i]);
        void *three = t_aligned_alloc(4096, ladder.sizes[i]);
        CHECK(one != NULL && two != NULL && three != NULL);
        errno = 4242;
        t_free(one);
        CHECK(errno == 4242);
        t_free_sized(two, ladder.sizes[i]);
        CHECK(errno == 4242);
        t_free_aligned_sized(three, 4096, ladder.sizes[i]);
        CHECK(errno == 4242);
        t_free(NULL);
        CHECK(errno == 4242);
    }
}

/* The size to give to free_sized is that of the last malloc, calloc or realloc, also after a shrink
 * in place. */
static inline void fam_free_sized(void)
{
    fam_ladder_t ladder = fam_ladder();
    for (size_t i = 0; i < ladder.count; i++) {
        size_t size = ladder.sizes[i];
        void *block = t_malloc(size);
        CHECK(block != NULL);
        t_free_sized(block, size);
        block = t_calloc(1, size);
        CHECK(block != NULL);
        t_free_sized(block, size);
        static const unsigned sixteenths[] = {15, 12, 9, 8, 4, 1, 17, 24, 33};
        for (size_t j = 0; j < TEST_COUNT(sixteenths); j++) {
            size_t resized = size / 16 * sixteenths[j] + 1;
            block = t_malloc(size);
            CHECK(block != NULL);
            block = t_realloc(block, resized);
            CHECK(block != NULL);
            t_free_sized(block, resized);
        }
    }
    for (size_t size = 0; size <= 70000; size += size < 2000 ? 1 : 13) {
        void *block = t_malloc(size);
        CHECK(block != NULL);
        t_free_sized(block, size);
    }
}

/* The usable size never changes while the block lives, whatever else goes on. */
static inline void fam_usable_constant(void)
{
    fam_ladder_t ladder = fam_ladder();
    void *blocks[TEST_COUNT(ladder.sizes)];
    size_t usable[TEST_COUNT(ladder.sizes)];
    for (size_t i = 0; i < ladder.count; i++) {
        blocks[i] = t_malloc(ladder.sizes[i]);
        CHECK(blocks[i] != NULL);
        usable[i] = t_usable_size(blocks[i]);
        test_fill(blocks[i], usable[i], i);
    }
    test_rng_t rng = test_rng(7);
    void *others[64] = {NULL};
    for (size_t i = 0; i < 20000; i++) {
        size_t slot = test_below(&rng, TEST_COUNT(others));
        t_free(others[slot]);
        others[slot] = t_malloc(test_log_size(&rng, 20));
        CHECK(others[slot] != NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        t_free(others[i]);
    for (size_t i = 0; i < ladder.count; i++) {
        CHECK(t_usable_size(blocks[i]) == usable[i]);
        CHECK_PATTERN(blocks[i], usable[i], usable[i], i);
        t_free(blocks[i]);
    }
}

static inline void fam_all(void)
{
    fam_every_size();
    fam_zero_sizes();
    fam_too_big();
    fam_calloc_zero();
    fam_realloc_pairs();
    fam_realloc_creep();
    fam_realloc_large();
    fam_realloc_trim();
    fam_realloc_zero();
    fam_aligned();
    fam_free_keeps_errno();
    fam_free_sized();
    fam_usable_constant();
    CHECK(t_check() == 0);
}

#endif
