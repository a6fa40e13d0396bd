/*
 * bitrange: ranges of bits in an array of 64-bit words.  No state; the array's owner sees to locks.
 */
#ifndef HK_BITRANGE_H
#define HK_BITRANGE_H

#include "base.h"

/* The bits of one word that belong to the range from first to end; both are bit numbers of the
 * whole array. */
static inline uint64_t hk_bitrange_word(size_t word, size_t first, size_t end)
{
    uint64_t mask = UINT64_MAX;
    if (first > word * 64) {
        mask &= UINT64_MAX << first % 64;
    }
    if (end < (word + 1) * 64) {
        mask &= ~(UINT64_MAX << end % 64);
    }
    return mask;
}

/* How many bits of the word are set.  Plain x86-64 has no instruction for this, and the compiler
 * would call a function; so it is written out: sums of 2, 4 and 8 neighbouring bits, then of all
 * bytes. */
static inline size_t hk_bitrange_sum(uint64_t word)
{
    word -= word >> 1 & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (size_t)(word * UINT64_C(0x0101010101010101) >> 56);
}

static inline void hk_bitrange_set(uint64_t *words, size_t first, size_t count)
{
    for (size_t word = first / 64; word * 64 < first + count; word++) {
        words[word] |= hk_bitrange_word(word, first, first + count);
    }
}

static inline void hk_bitrange_clear(uint64_t *words, size_t first, size_t count)
{
    for (size_t word = first / 64; word * 64 < first + count; word++) {
        words[word] &= ~hk_bitrange_word(word, first, first + count);
    }
}

static inline size_t hk_bitrange_count(const uint64_t *words, size_t first, size_t count)
{
    size_t set = 0;
    for (size_t word = first / 64; word * 64 < first + count; word++) {
        uint64_t bits = words[word] & hk_bitrange_word(word, first, first + count);
        set += hk_bitrange_sum(bits);
    }
    return set;
}

/* For the two functions below: the first bit of the range that is set after XOR with flip. */
static inline size_t hk_bitrange_find_flipped(const uint64_t *words, size_t first, size_t count,
                                              uint64_t flip)
{
    for (size_t word = first / 64; word * 64 < first + count; word++) {
        uint64_t bits = (words[word] ^ flip) & hk_bitrange_word(word, first, first + count);
        if (bits != 0) {
            return word * 64 + (size_t)__builtin_ctzll(bits);
        }
    }
    return first + count;
}

/* The first bit of the range that is set; first + count if there is none. */
static inline size_t hk_bitrange_find_set(const uint64_t *words, size_t first, size_t count)
{
    return hk_bitrange_find_flipped(words, first, count, 0);
}

/* The first bit of the range that is clear; first + count if there is none. */
static inline size_t hk_bitrange_find_clear(const uint64_t *words, size_t first, size_t count)
{
    return hk_bitrange_find_flipped(words, first, count, UINT64_MAX);
}

/* The bit at which the range's last wanted set bits begin; first if no more than that are set. */
static inline size_t hk_bitrange_tail(const uint64_t *words, size_t first, size_t count,
                                      size_t wanted)
{
    size_t end = first + count;
    while (wanted > 0 && end > first) {
        size_t word = (end - 1) / 64;
        uint64_t bits = words[word] & hk_bitrange_word(word, first, end);
        size_t set = hk_bitrange_sum(bits);
        if (set <= wanted) {
            wanted -= set;
            end = word * 64 > first ? word * 64 : first;
        } else { /* one bit nearer, which is in this word */
            end = word * 64 + 63u - (size_t)__builtin_clzll(bits);
            wanted--;
        }
    }
    return end;
}

#endif
