/*
 * canary: see canary.h.
 */
#include "canary.h"

#include "random.h"

enum {
    PATTERN = 0xc5,
    CLEARED_LEVEL_1 = 256,
    FILLED_LEVEL_1 = 32,
};

hk_canary_t hk_canary;

void hk_canary_start(uint64_t level)
{
    hk_canary.secret = hk_random_seed();
    hk_canary.cleared_bytes = level >= 2 ? SIZE_MAX : (size_t)CLEARED_LEVEL_1;
    hk_canary.filled_bytes = level >= 2 ? SIZE_MAX : (size_t)FILLED_LEVEL_1;
}

void hk_canary_fill(char *from, size_t bytes)
{
    if (bytes > 0) {
        memset(from, PATTERN, bytes);
        from[0] = '\0';
    }
}

bool hk_canary_is_filled(const char *from, size_t bytes)
{
    bool same = bytes == 0 || from[0] == '\0';
    for (size_t i = 1; i < bytes; i++) {
        same &= from[i] == (char)PATTERN;
    }
    return same;
}

bool hk_canary_is_clear(const void *block, size_t block_bytes)
{
    const char *bytes = block;
    size_t count = hk_canary_cleared_bytes(block_bytes);
    uint64_t first = 0;
    if (count < sizeof first) {
        memcpy(&first, bytes, count);
        return first == 0;
    }
    /* The first word is zero, and each byte is the one eight before it. */
    memcpy(&first, bytes, sizeof first);
    return first == 0 && memcmp(bytes, bytes + sizeof first, count - sizeof first) == 0;
}
