/*
 * parts: see parts.h.
 */
#include "parts.h"

#include "os.h"
#include "policy.h"

uint32_t hk_parts_most(void)
{
    return hk_policy_parts(hk_os_cpu_count());
}

void hk_parts_use(_Atomic uint32_t *last, uint32_t part)
{
    uint32_t before = hk_load_relaxed(last); /* relaxed: a part is good as it is, empty */
    while (before < part && !hk_cas_acq_rel(last, &before, part)) {
    }
}
