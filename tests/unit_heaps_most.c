/*
 * With more processors than there are numbers for heaps, one number stays free for the heap of
 * threads without a cache.
 */
#include "test.h"

#include "fake_os.h"
#include "heaps.h"

int main(void)
{
    fake_os.cpu_count = 2048;
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    for (int thread = 0; thread < 2 * HK_HEAPS_MAX; thread++) {
        CHECK(hk_heaps_attach_locked() != NULL);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    CHECK(hk_heaps_count() == HK_HEAPS_MAX - 2);
    CHECK(hk_heaps_orphan() != NULL);
    CHECK(hk_heaps_count() == HK_HEAPS_MAX - 1);
    return 0;
}
