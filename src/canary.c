/*
 * canary: see canary.h.
 */
#include "canary.h"

#include "random.h"

enum {
    CLEARED_AS_ONE = 256, /* smaller blocks are cleared nearly whole in any case */
    ZERO_AT = 1,          /* in the pattern */
};

hk_canary_t hk_canary;

const uint64_t hk_canary_masks[HK_CANARY_WORD_BYTES + 1] = {
    0,          0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
    UINT64_MAX,
};

void hk_canary_start(uint64_t level)
{
    hk_canary.secret = hk_random_seed();
    hk_canary.extent = level >= 2 ? HK_CANARY_WHOLE : HK_CANARY_PART;
}

void hk_canary_fill(char *from, size_t bytes)
{
    memset(from, (char)HK_CANARY_PATTERN, bytes);
    if (bytes > ZERO_AT) {
        from[ZERO_AT] = '\0';
    }
}

bool hk_canary_is_filled(const char *from, size_t bytes)
{
    bool same = true;
    for (size_t i = 0; i < bytes; i++) {
        same &= from[i] == (i == ZERO_AT ? '\0' : (char)HK_CANARY_PATTERN);
    }
    return same;
}

void hk_canary_reset(char *first, size_t block_bytes, size_t count)
{
    if (hk_canary.extent == HK_CANARY_WHOLE || block_bytes <= CLEARED_AS_ONE) {
        memset(first, 0, block_bytes * count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *block = first + i * block_bytes;
        hk_canary_clear(block, block_bytes, HK_CANARY_PART);
        hk_canary_store(block + block_bytes - HK_CANARY_TAIL_BYTES, 0);
    }
}

hk_canary_state_t hk_canary_read(const void *block, size_t block_bytes, size_t *size)
{
    uint64_t seal = hk_canary_seal(block);
    /* relaxed: as in hk_canary_is_live */
    uint64_t tail = hk_load_relaxed(hk_canary_tail(block, block_bytes));
    return hk_canary_is_live(block, block_bytes, seal, size) ? HK_CANARY_LIVE
           : tail == 0                                       ? HK_CANARY_UNUSED
           : tail == hk_canary_free(seal)                    ? HK_CANARY_FREE
           : tail == hk_canary_changing(seal)                ? HK_CANARY_CHANGING
                                                             : HK_CANARY_BROKEN;
}

void hk_canary_rearm(void *block, size_t block_bytes, size_t size)
{
    size_t before;
    uint64_t seal = hk_canary_seal(block);
    bool live = hk_canary_is_live(block, block_bytes, seal, &before);
    hk_canary_begin_change(block, block_bytes, seal);
    if (live && before < size) {
        if (hk_canary.extent == HK_CANARY_PART) {
            hk_canary_store((char *)block + before, 0); /* the pattern */
        } else {
            memset((char *)block + before, 0, size - before);
        }
    }
    hk_canary_arm(block, block_bytes, size, seal, hk_canary.extent);
}

bool hk_canary_try_begin_change(void *block, size_t block_bytes, size_t size)
{
    uint64_t seal = hk_canary_seal(block);
    uint64_t live = hk_canary_live(seal, size);
    return hk_cas_acq_rel(hk_canary_tail(block, block_bytes), &live, hk_canary_changing(seal));
}

bool hk_canary_is_zero(const void *from, size_t count)
{
    /* The first word is zero, and each byte is the one eight before it. */
    const char *bytes = from;
    return hk_canary_load(bytes) == 0 &&
           memcmp(bytes, bytes + HK_CANARY_WORD_BYTES, count - HK_CANARY_WORD_BYTES) == 0;
}
