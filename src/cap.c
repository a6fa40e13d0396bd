/*
 * cap: see cap.h.
 */
#include "cap.h"

#include "atomic.h"
#include "policy.h"
#include "sizeclass.h"

static struct {
    _Atomic uint64_t used[HK_CLASS_COUNT];   /* atomic: units in slabs */
    _Atomic uint64_t raised[HK_CLASS_COUNT]; /* atomic: the cap, less the least one */
    _Atomic uint64_t hits;                   /* atomic: a statistic */
    _Atomic uint64_t least;                  /* atomic: set at the start; 0 the policy's */
    _Atomic bool strict;                     /* atomic: set at the start */
} caps;

/* relaxed, here and below: the figures order nothing, and each stands alone */

uint64_t hk_cap_units(unsigned class_index)
{
    uint64_t least = hk_load_relaxed(&caps.least);
    least = least != 0 ? least : HK_CAP_UNITS_MIN;
    return least + hk_load_relaxed(&caps.raised[class_index]);
}

uint64_t hk_cap_used_units(unsigned class_index)
{
    return hk_load_relaxed(&caps.used[class_index]);
}

uint64_t hk_cap_hits(void)
{
    return hk_load_relaxed(&caps.hits);
}

bool hk_cap_charge(unsigned class_index, unsigned units)
{
    uint64_t cap = hk_cap_units(class_index);
    uint64_t used = hk_cap_used_units(class_index);
    do {
        if (used + units > cap) {
            hk_add_relaxed(&caps.hits, 1);
            return false;
        }
    } while (!hk_cas_acq_rel(&caps.used[class_index], &used, used + units));
    return true;
}

void hk_cap_uncharge(unsigned class_index, unsigned units)
{
    hk_sub_relaxed(&caps.used[class_index], units);
}

bool hk_cap_is_reached(unsigned class_index)
{
    return hk_cap_used_units(class_index) + hk_class_info[class_index].units >
           hk_cap_units(class_index);
}

bool hk_cap_give_way(unsigned class_index)
{
    if (hk_load_relaxed(&caps.strict)) {
        return false;
    }
    for (unsigned other = 0; other < HK_CLASS_COUNT; other++) {
        uint64_t cap = hk_cap_units(other);
        uint64_t used = hk_cap_used_units(other);
        uint64_t raised = hk_load_relaxed(&caps.raised[other]);
        uint64_t change = other == class_index
                              ? hk_policy_cap_raise(cap, used + hk_class_info[other].units - 1u)
                              : 0 - hk_policy_cap_lower(raised, used);
        if (change != 0) {
            hk_store_relaxed(&caps.raised[other], raised + change);
        }
    }
    return true;
}

void hk_cap_start(uint64_t mode, size_t bytes)
{
    uint64_t units = bytes >> HK_UNIT_SHIFT;
    bool strict = mode == 2;
    hk_store_relaxed(&caps.strict, strict);
    hk_store_relaxed(&caps.least, bytes == 0 && strict ? UINT32_MAX : units);
}
