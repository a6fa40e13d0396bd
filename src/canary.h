/*
 * canary: what hardening writes into a block, and what it reads back.
 *
 *     block                       size                block_bytes - 8      block_bytes
 *     | the program's bytes       | 0, pattern ...     | tail               |
 *
 * The tail says, mixed with the block's address and a secret, whether the block is live and of which size, or free.
 * Its lowest byte is zero: a string that runs over the end stops there.  A free block is zero up to the tail, or as far
 * as the level clears; so is one that was never used, whose tail is zero too.  Whoever writes past a block's end or
 * into a free one leaves a trace.
 *
 * Stateless but for the secret and the two lengths, const once hardening has started.
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
    HK_CANARY_SHIFT = 8,                           /* the tail's lowest byte is zero */
};

typedef enum hk_canary_state {
    HK_CANARY_LIVE,
    HK_CANARY_FREE,
    HK_CANARY_UNUSED, /* zero: never handed out since its memory was fresh */
    HK_CANARY_BROKEN, /* none of these: overwritten */
} hk_canary_state_t;

typedef struct hk_canary {
    uint64_t secret;
    size_t cleared_bytes; /* of a freed block, from its start, at most */
    size_t filled_bytes;  /* behind a live block's end, at most */
} hk_canary_t;

extern hk_canary_t hk_canary;

/* Chooses the secret, and the lengths for the level.  Before any block is armed. */
void hk_canary_start(uint64_t level);

/* The pattern behind an end. */
void hk_canary_fill(char *from, size_t bytes);
bool hk_canary_is_filled(const char *from, size_t bytes);

static inline uint64_t hk_canary_seal(const void *block)
{
    uint64_t mixed = ((uintptr_t)block ^ hk_canary.secret) * 0x9e3779b97f4a7c15u;
    return (mixed ^ mixed >> 29 ^ hk_canary.secret) & ~(uint64_t)0xff;
}

/* Aligned: blocks start at multiples of 8 at least, and their sizes are. */
static inline _Atomic uint64_t *hk_canary_tail(const void *block, size_t block_bytes)
{
    return (_Atomic uint64_t *)((uintptr_t)block + block_bytes - HK_CANARY_TAIL_BYTES);
}

static inline size_t hk_canary_filled_bytes(size_t block_bytes, size_t size)
{
    size_t bytes = block_bytes - HK_CANARY_TAIL_BYTES - size;
    return bytes < hk_canary.filled_bytes ? bytes : hk_canary.filled_bytes;
}

static inline size_t hk_canary_cleared_bytes(size_t block_bytes)
{
    size_t bytes = block_bytes - HK_CANARY_TAIL_BYTES;
    return bytes < hk_canary.cleared_bytes ? bytes : hk_canary.cleared_bytes;
}

/* What the block's tail says; size is set for live and free blocks. */
static inline hk_canary_state_t hk_canary_read(const void *block, size_t block_bytes, size_t *size)
{
    /* relaxed: only a holder of the block changes it, and hk_canary_end decides between two */
    uint64_t tail = hk_load_relaxed(hk_canary_tail(block, block_bytes));
    uint64_t content = (tail ^ hk_canary_seal(block)) >> HK_CANARY_SHIFT;
    *size = content & (HK_CANARY_FREE_BIT - 1);
    if (tail == 0) {
        return HK_CANARY_UNUSED;
    }
    if ((tail & 0xff) != 0 || content >= 2 * HK_CANARY_FREE_BIT ||
        *size > block_bytes - HK_CANARY_TAIL_BYTES) {
        return HK_CANARY_BROKEN;
    }
    return content >= HK_CANARY_FREE_BIT ? HK_CANARY_FREE : HK_CANARY_LIVE;
}

/* Marks the block live, and fills what lies between its size and the tail. */
static inline void hk_canary_arm(void *block, size_t block_bytes, size_t size)
{
    hk_canary_fill((char *)block + size, hk_canary_filled_bytes(block_bytes, size));
    /* relaxed: the block reaches other threads by the program's own means */
    hk_store_relaxed(hk_canary_tail(block, block_bytes),
                     hk_canary_seal(block) ^ (uint64_t)size << HK_CANARY_SHIFT);
}

/* Whether nobody wrote between the size of a live block and its tail. */
static inline bool hk_canary_holds(const void *block, size_t block_bytes, size_t size)
{
    return hk_canary_is_filled((const char *)block + size,
                               hk_canary_filled_bytes(block_bytes, size));
}

/* Marks the live block of the size free; false if it is not live any more: another thread was first. */
static inline bool hk_canary_end(void *block, size_t block_bytes, size_t size)
{
    uint64_t live = hk_canary_seal(block) ^ (uint64_t)size << HK_CANARY_SHIFT;
    return hk_cas_acq_rel(hk_canary_tail(block, block_bytes), &live,
                          live ^ (uint64_t)HK_CANARY_FREE_BIT << HK_CANARY_SHIFT);
}

/* Clears the block's bytes. */
static inline void hk_canary_clear(void *block, size_t block_bytes)
{
    memset(block, 0, hk_canary_cleared_bytes(block_bytes));
}

/* Whether a free or unused block is still as it was cleared. */
bool hk_canary_is_clear(const void *block, size_t block_bytes);

#endif
