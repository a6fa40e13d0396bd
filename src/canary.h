/*
 * canary: what hardening writes into a block, and what it reads back.
 *
 *     block                       size                block_bytes - 8      block_bytes
 *     | the program's bytes       | pattern            | tail               |
 *
 * The tail says whether the block is live, and of which size, or free; it is mixed with the block's
 * address and a secret.  The second byte behind the program's bytes is zero, so a string that runs
 * over the end stops there.  The first one is not zero, so a terminator that is written one byte
 * too far leaves a trace.  A free block is zero up to the tail, or as far as the level clears.  So
 * is a block that was never used, and its tail is zero too.  So whoever writes past a block's end
 * or into a free block leaves a trace.
 *
 * While a block is armed or cleared its tail says that it is changing.  A signal handler may jump
 * out in between, or end the process: whoever looks at all blocks passes over such a one.
 *
 * The only state is the secret and the extent; both are const once hardening has started.
 */
#ifndef HK_CANARY_H
#define HK_CANARY_H

#include <string.h>

#include "atomic.h"
#include "base.h"

enum {
    HK_CANARY_TAIL_BYTES = 8,
    HK_CANARY_SIZE_BITS = 20,
    HK_CANARY_FREE_BIT = 1 << HK_CANARY_SIZE_BITS, /* above the size */
    HK_CANARY_CHANGING_BIT = HK_CANARY_FREE_BIT << 1,
    HK_CANARY_SHIFT = 16, /* the tail starts like the pattern */
    HK_CANARY_WORD_BYTES = 8,
};

#define HK_CANARY_PATTERN 0xc5c5c5c5c5c5c5c5u
#define HK_CANARY_PATTERN_START 0xc5c5c5c5c5c500c5u

typedef enum hk_canary_state {
    HK_CANARY_LIVE,
    HK_CANARY_FREE,
    HK_CANARY_UNUSED,   /* zero: never handed out since its memory was fresh */
    HK_CANARY_CHANGING, /* between two of these, and its content with it */
    HK_CANARY_BROKEN,   /* none of these: overwritten */
} hk_canary_state_t;

/* How much is checked and cleared.  The fast paths are compiled for each extent, so that those of
 * level 1 have nothing to ask and call nothing. */
typedef enum hk_canary_extent {
    HK_CANARY_PART, /* level 1: looks at 8 bytes of the pattern, clears blocks in part */
    HK_CANARY_WHOLE,
} hk_canary_extent_t;

typedef struct hk_canary {
    uint64_t secret;
    hk_canary_extent_t extent;
} hk_canary_t;

extern hk_canary_t hk_canary;

/* By number: masks of so many of a word's lowest bytes. */
extern const uint64_t hk_canary_masks[HK_CANARY_WORD_BYTES + 1];

/* Chooses the secret, and notes the level.  Before any block is armed. */
void hk_canary_start(uint64_t level);

/* Writes the pattern that stands behind a block's end; and whether it is still there. */
void hk_canary_fill(char *from, size_t bytes);
bool hk_canary_is_filled(const char *from, size_t bytes);

/* Whether count bytes are zero, at least 8 of them. */
bool hk_canary_is_zero(const void *from, size_t count);

static inline uint64_t hk_canary_seal(const void *block)
{
    uint64_t mixed = ((uintptr_t)block ^ hk_canary.secret) * 0x9e3779b97f4a7c15u;
    return (mixed & ~(uint64_t)0xffff) | (HK_CANARY_PATTERN_START & 0xffff);
}

/* The tail.  It is aligned, since blocks start at multiples of 16 and their sizes are such
 * multiples. */
static inline _Atomic uint64_t *hk_canary_tail(const void *block, size_t block_bytes)
{
    return (_Atomic uint64_t *)((uintptr_t)block + block_bytes - HK_CANARY_TAIL_BYTES);
}

static inline uint64_t hk_canary_load(const char *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void hk_canary_store(char *to, uint64_t word)
{
    memcpy(to, &word, sizeof word);
}

static inline uint64_t hk_canary_live(uint64_t seal, size_t size)
{
    return seal ^ (uint64_t)size << HK_CANARY_SHIFT;
}

static inline uint64_t hk_canary_free(uint64_t seal)
{
    return seal ^ (uint64_t)HK_CANARY_FREE_BIT << HK_CANARY_SHIFT;
}

static inline uint64_t hk_canary_changing(uint64_t seal)
{
    return seal ^ (uint64_t)HK_CANARY_CHANGING_BIT << HK_CANARY_SHIFT;
}

/* Says that a block which the caller alone may change is changing. */
HK_INLINE void hk_canary_begin_change(void *block, size_t block_bytes, uint64_t seal)
{
    /* relaxed: the block reaches other threads by the program's own means */
    hk_store_relaxed(hk_canary_tail(block, block_bytes), hk_canary_changing(seal));
    hk_fence_signal();
}

/* Makes count blocks in a row unused, whatever lies there: clears as much of them as the level
 * looks at. */
void hk_canary_reset(char *first, size_t block_bytes, size_t count);

/* ---- Live blocks ---- */

/* What the block's tail says; *size is set if it is live. */
hk_canary_state_t hk_canary_read(const void *block, size_t block_bytes, size_t *size);

/* Whether the tail of a block is that of a live one; *size is its size then. */
HK_INLINE bool hk_canary_is_live(const void *block, size_t block_bytes, uint64_t seal, size_t *size)
{
    /* relaxed: only a holder of the block changes it, and hk_canary_try_begin_change decides
     * between two */
    uint64_t content = hk_load_relaxed(hk_canary_tail(block, block_bytes)) ^ seal;
    *size = content >> HK_CANARY_SHIFT;
    return (content & 0xffff) == 0 && *size <= block_bytes - HK_CANARY_TAIL_BYTES;
}

/* Marks a block live that nobody uses yet, and fills what lies between its size and the tail.  In
 * part: one whole word of the pattern is written, which may reach into the tail; so the tail is
 * written last. */
HK_INLINE void hk_canary_arm(void *block, size_t block_bytes, size_t size, uint64_t seal,
                             hk_canary_extent_t extent)
{
    char *end = (char *)block + size;
    hk_canary_begin_change(block, block_bytes, seal);
    if (extent == HK_CANARY_WHOLE) {
        hk_canary_fill(end, block_bytes - HK_CANARY_TAIL_BYTES - size);
    } else {
        hk_canary_store(end, HK_CANARY_PATTERN_START);
    }
    hk_fence_signal();
    hk_store_relaxed(hk_canary_tail(block, block_bytes), hk_canary_live(seal, size));
}

/* Gives a live block another size, for which it has room. */
void hk_canary_rearm(void *block, size_t block_bytes, size_t size);

/* Whether nobody wrote between the size of a live block and its tail. */
HK_INLINE bool hk_canary_holds(const void *block, size_t block_bytes, size_t size,
                               hk_canary_extent_t extent)
{
    const char *end = (const char *)block + size;
    size_t bytes = block_bytes - HK_CANARY_TAIL_BYTES - size;
    if (extent == HK_CANARY_WHOLE) {
        return hk_canary_is_filled(end, bytes);
    }
    uint64_t wrong = hk_canary_load(end) ^ HK_CANARY_PATTERN_START;
    /* The mask leaves out the bytes that belong to the tail.  A branch would be predicted well for
     * one size only. */
    return (wrong & hk_canary_masks[bytes < HK_CANARY_WORD_BYTES ? bytes : HK_CANARY_WORD_BYTES]) ==
           0;
}

/* ---- Free blocks ---- */

/* As hk_canary_begin_change, for a live block that another thread may be freeing; false if it is no
 * longer live, because that thread was first. */
HK_COLD bool hk_canary_try_begin_change(void *block, size_t block_bytes, size_t size);

typedef uint64_t hk_canary_pair_t __attribute__((vector_size(16), aligned(8), may_alias));

/* What level 1 clears, in pieces of 16 bytes: all but the tail of a block of up to 144 bytes, and
 * the first 80 bytes and the last 64 before the tail of a larger one.  visit is called with a
 * pointer to each piece; some overlap. */
#define HK_CANARY_EACH_PAIR(visit, block, block_bytes)                                             \
    do {                                                                                           \
        char *first_ = (char *)(uintptr_t)(block);                                                 \
        char *last_ = first_ + (block_bytes)-HK_CANARY_TAIL_BYTES - sizeof(hk_canary_pair_t);      \
        visit(first_);                                                                             \
        if ((block_bytes) == 32) {                                                                 \
            visit(last_);                                                                          \
            break;                                                                                 \
        }                                                                                          \
        visit(first_ + 16);                                                                        \
        visit((first_ + 32 < last_ ? first_ + 32 : last_));                                        \
        visit(last_ - 16);                                                                         \
        visit(last_);                                                                              \
        if ((block_bytes) >= 96) {                                                                 \
            visit(first_ + 48);                                                                    \
            visit(first_ + 64);                                                                    \
            visit(last_ - 48);                                                                     \
            visit(last_ - 32);                                                                     \
        }                                                                                          \
    } while (0)

/* Clears the block's bytes, as far as the extent says. */
HK_INLINE void hk_canary_clear(void *block, size_t block_bytes, hk_canary_extent_t extent)
{
    if (extent == HK_CANARY_WHOLE) {
        memset(block, 0, block_bytes - HK_CANARY_TAIL_BYTES);
    } else if (HK_UNLIKELY(block_bytes == HK_CANARY_WORD_BYTES + HK_CANARY_TAIL_BYTES)) {
        hk_canary_store(block, 0);
    } else {
#define HK_CANARY_CLEAR(at) *(hk_canary_pair_t *)(void *)(at) = (hk_canary_pair_t){0, 0}
        HK_CANARY_EACH_PAIR(HK_CANARY_CLEAR, block, block_bytes);
#undef HK_CANARY_CLEAR
    }
}

/* Clears a changing block, and marks it free. */
HK_INLINE void hk_canary_end(void *block, size_t block_bytes, uint64_t seal,
                             hk_canary_extent_t extent)
{
    hk_canary_clear(block, block_bytes, extent);
    hk_fence_signal();
    hk_store_relaxed(hk_canary_tail(block, block_bytes), hk_canary_free(seal));
}

/* Whether a free or unused block is still as it was cleared. */
HK_INLINE bool hk_canary_is_clear(const void *block, size_t block_bytes, hk_canary_extent_t extent)
{
    if (extent == HK_CANARY_WHOLE) {
        return hk_canary_is_zero(block, block_bytes - HK_CANARY_TAIL_BYTES);
    }
    if (HK_UNLIKELY(block_bytes == HK_CANARY_WORD_BYTES + HK_CANARY_TAIL_BYTES)) {
        return hk_canary_load(block) == 0;
    }
    hk_canary_pair_t any = {0, 0};
#define HK_CANARY_COLLECT(at) any |= *(const hk_canary_pair_t *)(const void *)(at)
    HK_CANARY_EACH_PAIR(HK_CANARY_COLLECT, block, block_bytes);
#undef HK_CANARY_COLLECT
    return (any[0] | any[1]) == 0;
}

/* Writes to memory without changing it.  So a page that nobody touched yet comes by one fault,
 * where a read and then a write would take two. */
HK_INLINE void hk_canary_touch(void *word)
{
#if defined(__x86_64__)
    __asm__ volatile("orq $0, %0" : "+m"(*(uint64_t *)word)::"cc");
#else
    (void)word; /* elsewhere there are two faults */
#endif
}

/* Whether a block that nobody holds is free or unused, and still as it was cleared. */
HK_INLINE bool hk_canary_is_idle(const void *block, size_t block_bytes, uint64_t seal,
                                 hk_canary_extent_t extent)
{
    /* relaxed: nobody holds the block, so nobody may write to it */
    uint64_t tail = hk_load_relaxed(hk_canary_tail(block, block_bytes));
    return (tail == hk_canary_free(seal) || tail == 0) &&
           hk_canary_is_clear(block, block_bytes, extent);
}

/* The same for a block that is about to be handed out.  Its pages are written to before they are
 * read: see hk_canary_touch. */
HK_INLINE bool hk_canary_is_fit(void *block, size_t block_bytes, uint64_t seal,
                                hk_canary_extent_t extent)
{
    hk_canary_touch((char *)block + block_bytes - HK_CANARY_TAIL_BYTES);
    uint64_t tail = hk_load_relaxed(hk_canary_tail(block, block_bytes)); /* relaxed: as above */
    if (HK_UNLIKELY(tail != hk_canary_free(seal))) {
        if (tail != 0) {
            return false;
        }
        hk_canary_touch(block);
    }
    return hk_canary_is_clear(block, block_bytes, extent);
}

#endif
