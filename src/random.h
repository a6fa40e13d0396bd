/*
 * random: numbers that a program's input does not determine.  They are for placement, not for
 * cryptography: the generator is fast, and only its seed comes from the kernel.
 */
#ifndef HK_RANDOM_H
#define HK_RANDOM_H

#include "base.h"

/* A seed, never zero. */
uint64_t hk_random_seed(void);

/* The next number; the state must not be zero (xorshift64*). */
static inline uint64_t hk_random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

/* A number below limit, which is at most 2^32. */
static inline uint32_t hk_random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)((hk_random_next(state) >> 32) * limit >> 32);
}

#endif
