/*
 * fit: see fit.h.
 */
#include "fit.h"

#include "cap.h"
#include "policy.h"

enum {
    VOTES_ENOUGH = 16,
    UNITS_MAX = 4,    /* of a slab */
    CLAIMED = 1,      /* in hk_class_fit: about to be made, or none was left */
    LINE_FROM = 2048, /* from here on blocks are whole cache lines: buffers are copied by vectors */
    WASTE_SHIFT = 7,  /* a larger slab must save so much of it */
};

static _Atomic uint32_t made; /* atomic: classes claimed, perhaps more than there are */

static uint32_t block_bytes_for(size_t size)
{
    return (uint32_t)hk_align_up(size, size < LINE_FROM ? HK_GRANULE_BYTES : HK_CACHE_LINE);
}

/* What a block takes of a slab of so many units. */
static uint32_t share(uint32_t block_bytes, unsigned units)
{
    uint32_t slab_bytes = units << HK_UNIT_SHIFT;
    return slab_bytes / (slab_bytes / block_bytes);
}

static unsigned units_for(uint32_t block_bytes)
{
    unsigned best = 1;
    for (unsigned units = 2; units <= UNITS_MAX; units++) {
        uint32_t least = share(block_bytes, best);
        best = share(block_bytes, units) < least - (least >> WASTE_SHIFT) ? units : best;
    }
    return best;
}

static void fill(unsigned class_index, unsigned base, uint32_t block_bytes)
{
    unsigned units = units_for(block_bytes);
    hk_class_info[class_index] = (hk_class_info_t){
        .reciprocal = ((1ull << 40) + block_bytes - 1) / block_bytes,
        .block_bytes = block_bytes,
        .block_count = (uint16_t)((units << HK_UNIT_SHIFT) / block_bytes),
        .units = (uint8_t)units,
    };
    hk_class_parent[class_index - HK_BASE_CLASSES] = (uint8_t)base;
    hk_policy_class[class_index] = hk_policy_class[base];
}

/* From here on other threads find the class, and with it what fill wrote: release pairs with the acquire of hk_class_of. */
static void publish(unsigned class_index, unsigned base, uint32_t block_bytes)
{
    uint32_t smaller = hk_class_info[base - 1].block_bytes;
    hk_store_release(&hk_class_fit[base], (uint8_t)class_index);
    for (uint32_t size = smaller + 1; size <= block_bytes && size <= HK_TABLE_MAX; size++) {
        hk_store_release(&hk_class_table[size], (uint8_t)class_index);
    }
    for (uint32_t start = smaller; start < block_bytes; start += HK_GRANULE_BYTES) {
        hk_store_release(&hk_class_granules[start / HK_GRANULE_BYTES], (uint8_t)class_index);
    }
}

bool hk_fit_make(unsigned base, size_t size)
{
    uint32_t block_bytes = block_bytes_for(size);
    uint8_t none = 0;
    if (base < HK_FIT_FIRST || base >= HK_BASE_CLASSES ||
        block_bytes >= hk_class_info[base].block_bytes ||
        !hk_cas_acq_rel(&hk_class_fit[base], &none, CLAIMED)) {
        return false;
    }
    uint32_t number = hk_add_relaxed(&made, 1); /* relaxed: only the number counts */
    if (number >= HK_FITTED_CLASSES) {
        return false; /* and the base class stays claimed: nobody need ask again */
    }
    fill(HK_BASE_CLASSES + number, base, block_bytes);
    publish(HK_BASE_CLASSES + number, base, block_bytes);
    return true;
}

static bool pays(unsigned base, size_t size)
{
    const hk_class_info_t *info = &hk_class_info[base];
    uint32_t block_bytes = block_bytes_for(size);
    return hk_policy_wants_fit((size_t)hk_cap_used_units(base) << HK_UNIT_SHIFT,
                               ((size_t)info->units << HK_UNIT_SHIFT) / info->block_count,
                               share(block_bytes, units_for(block_bytes)));
}

void hk_fit_vote(hk_fit_vote_t *votes, unsigned class_index, size_t size)
{
    unsigned number = class_index - HK_FIT_FIRST; /* wraps below it */
    if (number >= HK_FIT_CLASSES || hk_load_relaxed(&hk_class_fit[class_index]) != 0) {
        return; /* relaxed: whether there is one, not what it is */
    }
    hk_fit_vote_t *vote = &votes[number];
    uint16_t ballot = (uint16_t)(size - 1);
    if (vote->count == 0) {
        vote->size = ballot;
    }
    vote->count = (uint16_t)(vote->size == ballot ? vote->count + 1 : vote->count - 1);
    if (HK_UNLIKELY(vote->count == VOTES_ENOUGH)) {
        vote->count = VOTES_ENOUGH / 2;
        if (pays(class_index, size)) {
            (void)hk_fit_make(class_index, size);
        }
    }
}

unsigned hk_fit_of(unsigned class_index)
{
    unsigned fit = class_index < HK_BASE_CLASSES ? hk_load_acquire(&hk_class_fit[class_index]) : 0;
    return fit > CLAIMED ? fit : (unsigned)HK_CLASS_COUNT;
}

uint64_t hk_fit_count(void)
{
    uint32_t count = hk_load_relaxed(&made); /* relaxed: a statistic */
    return count < HK_FITTED_CLASSES ? count : HK_FITTED_CLASSES;
}
