/*
 * live: see live.h.
 */
#include "live.h"

#include <string.h>

unsigned hk_live_count_units(const void *first, size_t units)
{
    const hk_live_word_t *word = hk_live_word(first);
    unsigned count = 0;
    for (size_t i = 0; i < units * (HK_UNIT_BYTES >> HK_LIVE_WORD_SHIFT); i++) {
        count += (unsigned)__builtin_popcount(hk_load_relaxed(&word[i])); /* relaxed: see live.h */
    }
    return count;
}

void hk_live_clear_units(void *first, size_t units)
{
    hk_live_word_t *word = hk_live_word(first);
    memset((void *)word, 0, units * (HK_UNIT_BYTES >> (HK_LIVE_WORD_SHIFT - 2)));
}
