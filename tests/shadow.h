/*
 * A shadow of the address space, for many threads at once and without a lock: one bit for each 16
 * bytes, set while a live block covers them.  Two blocks that overlap show when the second one is
 * marked, whichever threads they belong to.  Mark a block after it was allocated and clear it
 * before it is freed: then what is marked is always live, also in a child that was forked at any
 * moment.
 *
 * Leaves of 1 GiB are mapped when they are needed, without malloc, and stay.
 */
#ifndef HAKMEM_SHADOW_H
#define HAKMEM_SHADOW_H

#include "test.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { SHADOW_LEAF_SHIFT = 30, SHADOW_WORD_SHIFT = 10 };

#define SHADOW_LEAVES ((size_t)1 << (47 - SHADOW_LEAF_SHIFT))
#define SHADOW_LEAF_WORDS ((size_t)1 << (SHADOW_LEAF_SHIFT - SHADOW_WORD_SHIFT))

typedef _Atomic uint64_t shadow_word_t;

static _Atomic(shadow_word_t *) shadow_leaves[SHADOW_LEAVES];

/* The word for the 1 KiB around address.  While the system refuses memory it waits for better
 * times. */
static inline shadow_word_t *shadow_word(uintptr_t address)
{
    CHECKF(address >> 47 == 0, " (%p)", (void *)address);
    _Atomic(shadow_word_t *) *place = &shadow_leaves[address >> SHADOW_LEAF_SHIFT];
    shadow_word_t *leaf = atomic_load_explicit(place, memory_order_acquire);
    while (leaf == NULL) {
        size_t bytes = SHADOW_LEAF_WORDS * sizeof *leaf;
        void *fresh = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (fresh == MAP_FAILED) {
            (void)sched_yield();
            leaf = atomic_load_explicit(place, memory_order_acquire);
        } else if (atomic_compare_exchange_strong(place, &leaf, (shadow_word_t *)fresh)) {
            leaf = (shadow_word_t *)fresh;
        } else {
            CHECK(munmap(fresh, bytes) == 0);
        }
    }
    return &leaf[address >> SHADOW_WORD_SHIFT & (SHADOW_LEAF_WORDS - 1)];
}

/* The bits of one word for granules from first to last, which lie in the same 1 KiB. */
static inline uint64_t shadow_mask(uintptr_t first, uintptr_t last)
{
    return ~UINT64_C(0) << (first & 63) & ~UINT64_C(0) >> (63 - (last & 63));
}

/* Sets or clears the bits of a block; all must have been otherwise.  A block of no bytes has
 * one. */
static inline void shadow_turn(const void *block, size_t bytes, bool live)
{
    uintptr_t granule = (uintptr_t)block >> 4;
    uintptr_t end = ((uintptr_t)block + (bytes == 0 ? 1 : bytes) + 15) >> 4;
    while (granule < end) {
        uintptr_t last = granule | 63;
        last = last < end ? last : end - 1;
        uint64_t mask = shadow_mask(granule, last);
        shadow_word_t *word = shadow_word(granule << 4);
        uint64_t before = live ? atomic_fetch_or_explicit(word, mask, memory_order_relaxed)
                               : atomic_fetch_and_explicit(word, ~mask, memory_order_relaxed);
        CHECKF((before & mask) == (live ? 0 : mask),
               " (block %p of %zu bytes %s, near %p: %016llx of %016llx)", block, bytes,
               live ? "overlaps a live one" : "was live only in part", (void *)(granule << 4),
               (unsigned long long)(before & mask), (unsigned long long)mask);
        granule = last + 1;
    }
}

static inline void shadow_mark(const void *block, size_t bytes)
{
    shadow_turn(block, bytes, true);
}

static inline void shadow_clear(const void *block, size_t bytes)
{
    shadow_turn(block, bytes, false);
}

#endif
