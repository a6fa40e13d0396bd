/*
 * Blocks of no bytes with a wider alignment, among others of their class: none of the class's
 * blocks is lost.
 */
#include "test.h"

#include <hakmem/hakmem.h>

enum { ROUNDS = 20000, ALIGNMENT = 64, BYTES_MOST = 64 << 10 };

int main(void)
{
    hak_stats_t stats;
    for (int i = 0; i < ROUNDS; i++) {
        void *some = hak_aligned_alloc(ALIGNMENT, ALIGNMENT / 2);
        void *nothing = hak_aligned_alloc(ALIGNMENT, 0);
        CHECK(some != NULL && nothing != NULL && some != nothing);
        CHECK((uintptr_t)nothing % ALIGNMENT == 0);
        hak_free(some);
        hak_free(nothing);
    }
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    CHECKF(stats.live_bytes < BYTES_MOST, " (%zu)", (size_t)stats.live_bytes);
    CHECK(hak_check() == 0);
    return 0;
}
