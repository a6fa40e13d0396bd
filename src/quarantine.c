/*
 * quarantine: see quarantine.h.
 */
#include "quarantine.h"

#include "meta.h"
#include "options.h"

enum {
    BLOCKS = 256,
    BYTES = 256 << 10,
    BLOCKS_LEVEL_2 = 4096,
    BYTES_LEVEL_2 = 2 << 20,
};

hk_quarantine_t *hk_quarantine_new(hk_quarantine_kind_t kind)
{
    bool large = kind == HK_QUARANTINE_THREAD && hk_options.harden >= 2;
    uint32_t most = large ? BLOCKS_LEVEL_2 : BLOCKS;
    size_t blocks_bytes = most * sizeof(uint64_t);
    hk_quarantine_t *quarantine =
        hk_meta_allocate(HK_META_QUARANTINE + kind, sizeof *quarantine + blocks_bytes);
    if (quarantine != NULL) {
        *quarantine = (hk_quarantine_t){.random = hk_random_seed(),
                                        .most = most,
                                        .most_bytes = large ? (size_t)BYTES_LEVEL_2 : (size_t)BYTES,
                                        .kind = kind};
    }
    return quarantine;
}

void hk_quarantine_delete(hk_quarantine_t *quarantine)
{
    hk_meta_free(HK_META_QUARANTINE + quarantine->kind, quarantine);
}
