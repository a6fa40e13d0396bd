/*
 * quarantine: see quarantine.h.
 */
#include "quarantine.h"

#include "meta.h"
#include "options.h"

enum {
    BLOCKS_LEVEL_1 = 256,
    BYTES_LEVEL_1 = 256 << 10,
    BLOCKS_LEVEL_2 = 4096,
    BYTES_LEVEL_2 = 2 << 20,
};

hk_quarantine_t *hk_quarantine_new(void)
{
    bool all = hk_options.harden >= 2;
    uint32_t most = all ? BLOCKS_LEVEL_2 : BLOCKS_LEVEL_1;
    size_t blocks_bytes = most * sizeof(hk_quarantined_t);
    hk_quarantine_t *quarantine =
        hk_meta_allocate(HK_META_QUARANTINE, sizeof *quarantine + blocks_bytes);
    if (quarantine != NULL) {
        *quarantine =
            (hk_quarantine_t){.random = hk_random_seed(),
                              .most = most,
                              .most_bytes = all ? (size_t)BYTES_LEVEL_2 : (size_t)BYTES_LEVEL_1};
    }
    return quarantine;
}

void hk_quarantine_delete(hk_quarantine_t *quarantine)
{
    hk_meta_free(HK_META_QUARANTINE, quarantine);
}
