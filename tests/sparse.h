/*
 * Patterns in both ends of a block and in a word of each 64 KiB between, so that large blocks cost
 * little: see test.h for denser ones.
 */
#ifndef HAKMEM_SPARSE_H
#define HAKMEM_SPARSE_H

#include "test.h"

/* Where a word comes next. */
static inline size_t sparse_next(size_t offset, size_t size)
{
    size_t edge = KIB;
    if (offset + 8 < edge || offset + 8 + edge >= size)
        return offset + 8;
    size_t next = (offset + 64 * KIB) & ~(64 * KIB - 1);
    size_t tail = (size - edge) & ~(size_t)7;
    return next < tail ? next : tail;
}

static inline void sparse_fill(unsigned char *block, size_t size, uint64_t id)
{
    for (size_t at = 0; at < size; at = sparse_next(at, size)) {
        uint64_t word = test_pattern_word(id, at / 8);
        memcpy(block + at, &word, size - at < 8 ? size - at : 8);
    }
}

/* Of a block of size bytes that was filled so: whether the first length bytes are as they were. */
static inline bool sparse_is_filled(const unsigned char *block, size_t length, size_t size,
                                    uint64_t id)
{
    bool same = true;
    for (size_t at = 0; at < size && at < length && same; at = sparse_next(at, size)) {
        uint64_t word = test_pattern_word(id, at / 8);
        size_t span = length - at < 8 ? length - at : 8;
        same = memcmp(block + at, &word, size - at < span ? size - at : span) == 0;
    }
    return same;
}

static inline bool sparse_is_zero(const unsigned char *block, size_t size)
{
    static const unsigned char zero[8];
    bool same = true;
    for (size_t at = 0; at < size && same; at = sparse_next(at, size))
        same = memcmp(block + at, zero, size - at < 8 ? size - at : 8) == 0;
    return same;
}

#endif
