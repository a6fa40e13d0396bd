/*
 * live: one bit for each 16 bytes of a superslab, set while a program holds a block that starts
 * there.
 *
 * The bits of a superslab are its first 16 KiB, so that a block's bit is found from its address
 * alone.  malloc sets a block's bit and free clears it, whether the block goes to a magazine or to
 * its slab.  So a free that finds the bit clear is known at once for a double free, or for the free
 * of something that is no block.  The smallest class is 16 bytes, so no two blocks share a bit.
 * First-class heaps do not use the bits: all their frees go to the bitmap.
 *
 * Who may write a slab's bits: the threads of the heap that owns the slab; and, if none of its
 * blocks is handed out, whoever holds lock(heap).  So plain loads and stores are enough where a
 * heap has one thread.  A thread that frees a block of another heap only reads the bit; the owner
 * clears it when the block arrives (cache.c settles a magazine when it loads it).  Threads that
 * share a heap may undo each other's writes of neighbouring bits.  So there a clear bit proves
 * nothing, and hk_suspect_check looks for the block before it ends the process.
 */
#ifndef HK_LIVE_H
#define HK_LIVE_H

#include "atomic.h"
#include "base.h"
#include "registry.h"

enum {
    HK_LIVE_GRANULE_SHIFT = 4,
    HK_LIVE_WORD_SHIFT = HK_LIVE_GRANULE_SHIFT + 5, /* bytes of blocks to a word of 32 bits */
    HK_LIVE_BYTES = (HK_SUPERSLAB_BYTES >> HK_LIVE_WORD_SHIFT) * 4,
};

typedef _Atomic uint32_t hk_live_word_t;

/* The word with the bit of a block. */
HK_INLINE hk_live_word_t *hk_live_word(const void *block)
{
    uint32_t address = (uint32_t)(uintptr_t)block; /* 32 bits: shorter instructions */
    char *superslab = (char *)((uintptr_t)block & ~(uintptr_t)(HK_SUPERSLAB_BYTES - 1));
    return (hk_live_word_t *)(void *)(superslab +
                                      (address >> (HK_LIVE_WORD_SHIFT - 2) & (HK_LIVE_BYTES - 4)));
}

/* An address that is no multiple of 16 has no bit: neither the one below nor the one above it may
 * answer for it. */
HK_INLINE bool hk_live_is_misaligned(const void *block)
{
    return ((uintptr_t)block & ((1 << HK_LIVE_GRANULE_SHIFT) - 1)) != 0;
}

/* Sets the bit of a block. */
HK_INLINE void hk_live_set(const void *block)
{
    uint32_t number = (uint32_t)(uintptr_t)block >> HK_LIVE_GRANULE_SHIFT;
    hk_live_word_t *word = hk_live_word(block);
    uint32_t bits;
#if defined(__x86_64__)
    /* A relaxed load and store, as below.  In assembly the word's address need not be computed into
     * a register first. */
    __asm__("movl %1, %0\n\tbtsl %2, %0\n\tmovl %0, %1"
            : "=&r"(bits), "+m"(*word)
            : "r"(number)
            : "cc");
#else
    bits = hk_load_relaxed(word); /* relaxed, and the store too: see above */
    hk_store_relaxed(word, bits | 1u << (number & 31));
#endif
}

/* Clears the bit of an address that is not misaligned; returns whether it was set. */
HK_INLINE bool hk_live_clear(const void *block)
{
    uint32_t number = (uint32_t)(uintptr_t)block >> HK_LIVE_GRANULE_SHIFT;
    hk_live_word_t *word = hk_live_word(block);
    bool was_set;
#if defined(__x86_64__)
    uint32_t bits;
    /* As above; btr tests and clears in one.  If the bit was clear, the word is stored
     * unchanged. */
    __asm__("movl %2, %0\n\tbtrl %3, %0\n\tmovl %0, %2"
            : "=&r"(bits), "=@ccc"(was_set), "+m"(*word)
            : "r"(number));
#else
    uint32_t bits = hk_load_relaxed(word); /* relaxed, and the store too: see above */
    was_set = (bits >> (number & 31) & 1) != 0;
    hk_store_relaxed(word, bits & ~(1u << (number & 31)));
#endif
    return was_set;
}

/* Clears the bit if wanted is 1, and changes nothing if it is 0, without a branch in either case;
 * returns whether the bit was set. */
HK_INLINE bool hk_live_clear_if(const void *block, uint32_t wanted)
{
    uint32_t number = (uint32_t)(uintptr_t)block >> HK_LIVE_GRANULE_SHIFT;
    hk_live_word_t *word = hk_live_word(block);
    uint32_t bits = hk_load_relaxed(word); /* relaxed, and the store too: see above */
    hk_store_relaxed(word, bits & ~(wanted << (number & 31)));
    return (bits >> (number & 31) & 1) != 0;
}

/* Whether the bit of a block is set.  Any thread may ask about a block that it holds. */
HK_INLINE bool hk_live_is_set(const void *block)
{
    uint32_t number = (uint32_t)(uintptr_t)block >> HK_LIVE_GRANULE_SHIFT;
    uint32_t bits = hk_load_relaxed(hk_live_word(block)); /* relaxed: see above */
    return !hk_live_is_misaligned(block) && (bits >> (number & 31) & 1) != 0;
}

/* How many bits are set in a range of whole units.  The reads are relaxed: where blocks come and go
 * it is the figure of a moment ago. */
unsigned hk_live_count_units(const void *first, size_t units);

/* Clears the bits of a range of whole units, which nobody else may be looking at. */
void hk_live_clear_units(void *first, size_t units);

/* Writes to bits of a unit, all of which are clear, so that their page is there when blocks are
 * handed out.  A page that was never written to would be faulted in twice: to read a word of it,
 * and then to write it, when every processor that runs the program has to forget the first. */
static inline void hk_live_touch_unit(const void *unit)
{
    hk_store_relaxed(hk_live_word(unit), 0); /* relaxed: see above */
}

#endif
