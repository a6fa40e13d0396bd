/*
 * live: see live.h.
 */
#include "live.h"

#include <string.h>

void hk_live_clear_units(void *first, size_t units)
{
    hk_live_word_t *word = hk_live_word(first);
    memset((void *)word, 0, units * (HK_UNIT_BYTES >> (HK_LIVE_WORD_SHIFT - 2)));
}
