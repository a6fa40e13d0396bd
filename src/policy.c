/*
 * policy: see policy.h.
 */
#include "policy.h"

enum {
    COLD_USES_MIN = 4,
    COLD_USE_BYTES = 1024, /* large blocks that are used seldom had better serve other classes */
    /* Blocks that were freed at random come out of a depot at random, but out of the bitmaps in
     * order: then what a program builds of them lies together.  So depots only even out ups and
     * downs. */
    DEPOT_BYTES_MIN = 512 << 10,
    DEPOT_SHARE_SHIFT = 6,
    /* Areas double from here: address space is not free under ulimit -v. */
    AREA_BYTES_MIN = 4 << 20,
    AREA_BYTES_STEP = 2 << 20,
    WARM_RUN_BYTES_MIN = 1 << 20, /* so many free resident pages are always at hand */
    BESIDE_BYTES_MIN = 1 << 20,   /* smaller blocks soon find a place */
    HOLES_BYTES_MIN = 2 << 20,    /* less is not worth the calls */
    ROOMY_BYTES_MIN = 1 << 20,    /* less is not worth the move */
    HUGE_SUPERSLABS_MIN = 32,     /* 64 MiB: a superslab that is never filled adds 3 % at most */
    HUGE_ADVISED_MAX = 8192,      /* 16 GiB; a quarter of the mappings that a process may have */
    DENSE_BYTES_MIN = (2 << 20) / 8 * 7, /* of a superslab */
    HOUSE_EPOCHS_MIN = 2,
    /* A process that has just gone idle waits up to so long for its first round. */
    HOUSE_MS_MAX = 4000,
    CAP_ENOUGH_SHIFT = 3,   /* an eighth of the cap is enough to have reclaimed */
    CAP_HEADROOM_SHIFT = 1, /* a cap is raised by half, and falls to half above what is used */
    RESERVE_SHIFT = 5,
    RESERVE_MIN = 256 << 10, /* the largest slab */
    RESERVE_MAX = 8 << 20,
    PRESS_SHIFT = 4,       /* a sixteenth of growth pays for reclaiming everything */
    SHELVES_MIN = 4 << 20, /* the shelves of a few busy threads */
    SHELVES_SHIFT = 4,
    REST_BYTES_MIN = 8 << 20,
    REST_SHIFT = 5,
    CROWD_MIN = 8,             /* threads */
    LARGE_KEPT_MIN = 96 << 20, /* they are used before the process grows, and gone in 4 epochs */
};

/* clang-format off */
#define BETWEEN(least, count, most) \
    ((count) < (least) ? (least) : (count) > (most) ? (most) : (count))
#define BLOCKS_IN(all_bytes, bytes) \
    BETWEEN(HK_MAGAZINE_BLOCKS_MIN, (all_bytes) / (bytes), \
            HK_MAGAZINE_CAPACITY(HK_MAGAZINE_KINDS - 1))
#define BLOCKS(bytes) BLOCKS_IN(HK_MAGAZINE_BYTES, bytes)
#define KIND(bytes) \
    ((HK_MAGAZINE_CAPACITY(0) < BLOCKS(bytes)) + (HK_MAGAZINE_CAPACITY(1) < BLOCKS(bytes)) + \
     (HK_MAGAZINE_CAPACITY(2) < BLOCKS(bytes)))
#define ROW(bytes) \
    {(uint8_t)(BLOCKS(bytes)), (uint8_t)(BLOCKS_IN(HK_LOAD_BYTES, bytes)), KIND(bytes), \
     COLD_USES_MIN + (bytes) / COLD_USE_BYTES},
/* clang-format on */

const hk_policy_class_t hk_policy_class[HK_CLASS_COUNT] = {HK_CLASS_TABLE(ROW)};

bool hk_policy_is_crowded(size_t threads, unsigned cpu_count)
{
    return threads > CROWD_MIN && threads > cpu_count + 1; /* workers, and who started them */
}

unsigned hk_policy_heaps_max(unsigned cpu_count)
{
    return 4 * cpu_count;
}

size_t hk_policy_area_bytes(size_t mapped_bytes)
{
    size_t bytes = mapped_bytes < AREA_BYTES_MIN ? (size_t)AREA_BYTES_MIN : mapped_bytes;
    bytes = bytes > HK_RUN_AREA_BYTES_MAX ? (size_t)HK_RUN_AREA_BYTES_MAX : bytes;
    return bytes & ~(size_t)(AREA_BYTES_STEP - 1);
}

size_t hk_policy_kept_run_bytes(uint32_t parts)
{
    return WARM_RUN_BYTES_MIN / parts;
}

uint32_t hk_policy_parts(unsigned cpu_count)
{
    return cpu_count < HK_PARTS ? cpu_count : HK_PARTS;
}

size_t hk_policy_portion_bytes(uint64_t mode, uint64_t idle_ms)
{
    uint64_t portions = idle_ms / HK_PORTION_IDLE_MS;
    portions = portions < 1 ? 1 : portions < HK_PORTIONS_MAX ? portions : HK_PORTIONS_MAX;
    return (size_t)(mode >= 2 ? HK_PORTIONS_MAX : portions) * HK_PORTION_BYTES;
}

size_t hk_policy_depot_bytes(size_t slab_bytes)
{
    size_t share = slab_bytes >> DEPOT_SHARE_SHIFT;
    return share < DEPOT_BYTES_MIN ? (size_t)DEPOT_BYTES_MIN : share;
}

size_t hk_policy_large_kept_bytes(size_t used_bytes)
{
    return used_bytes < LARGE_KEPT_MIN ? (size_t)LARGE_KEPT_MIN : used_bytes;
}

size_t hk_policy_shelves_bytes(size_t committed_bytes, size_t hard_limit)
{
    size_t share = committed_bytes >> SHELVES_SHIFT;
    share = share < SHELVES_MIN ? (size_t)SHELVES_MIN : share;
    size_t limited = hard_limit >> SHELVES_SHIFT;
    return hard_limit != 0 && limited < share ? limited : share;
}

size_t hk_policy_growing_bytes(size_t bytes)
{
    return bytes + bytes / 8;
}

size_t hk_policy_stock_bytes(size_t committed_bytes)
{
    return committed_bytes / 16;
}

size_t hk_policy_warm_bytes(size_t committed_bytes)
{
    return committed_bytes / 4;
}

size_t hk_policy_warm_slab_bytes(size_t committed_bytes)
{
    return committed_bytes / 12;
}

size_t hk_policy_beside_bytes(size_t committed_bytes)
{
    size_t share = committed_bytes / 8;
    return share < BESIDE_BYTES_MIN ? (size_t)BESIDE_BYTES_MIN : share;
}

size_t hk_policy_watch_bytes(size_t committed_bytes)
{
    size_t share = committed_bytes / 16;
    return share > HK_LINGER_BYTES ? share : HK_LINGER_BYTES;
}

size_t hk_policy_warm_beside_bytes(size_t committed_bytes)
{
    return committed_bytes / 16;
}

size_t hk_policy_rest_bytes(size_t committed_bytes, bool limited)
{
    size_t share = committed_bytes >> REST_SHIFT;
    return share < REST_BYTES_MIN && !limited ? (size_t)REST_BYTES_MIN : share;
}

size_t hk_policy_end_keep_bytes(size_t committed_bytes, size_t free_bytes)
{
    size_t used = hk_above(committed_bytes, free_bytes);
    size_t keep = used / 3; /* a quarter of both */
    keep = keep < HK_LINGER_BYTES_MIN ? (size_t)HK_LINGER_BYTES_MIN : keep;
    return free_bytes < HK_END_BYTES || free_bytes < keep ? free_bytes : keep;
}

bool hk_policy_is_sparse_peak(size_t committed_bytes, size_t resident_peak)
{
    return resident_peak != 0 && resident_peak < committed_bytes / 4;
}

bool hk_policy_is_roomy(size_t slab_bytes, size_t free_bytes)
{
    return free_bytes > ROOMY_BYTES_MIN && free_bytes > slab_bytes / 8;
}

size_t hk_policy_sparse_bytes(size_t slab_bytes, size_t free_bytes)
{
    return free_bytes > slab_bytes / 2 ? free_bytes - slab_bytes / 4 : 0;
}

hk_pages_t hk_policy_pages(uint64_t mode, uint64_t superslabs)
{
    return mode == 0 || superslabs < HUGE_SUPERSLABS_MIN ? HK_PAGES_SMALL
           : mode == 1                                   ? HK_PAGES_SYSTEM
                                                         : HK_PAGES_HUGE;
}

bool hk_policy_wants_dense(uint64_t mode, uint64_t superslabs, uint64_t advised)
{
    return mode != 0 && superslabs >= HUGE_SUPERSLABS_MIN && advised < HUGE_ADVISED_MAX;
}

bool hk_policy_is_dense(size_t live_bytes)
{
    return live_bytes >= DENSE_BYTES_MIN;
}

bool hk_policy_wants_holes(size_t slab_bytes, size_t free_bytes)
{
    return free_bytes > HOLES_BYTES_MIN && free_bytes > slab_bytes / 8;
}

bool hk_policy_wants_holes_at_peak(size_t committed_bytes, size_t free_bytes)
{
    return free_bytes > HOLES_BYTES_MIN && free_bytes > committed_bytes / 4;
}

uint32_t hk_policy_empty_superslabs(uint64_t superslabs)
{
    return superslabs / 16 < 1 ? 1 : (uint32_t)(superslabs / 16);
}

size_t hk_policy_reserve_bytes(size_t hard_bytes)
{
    size_t share = hard_bytes >> RESERVE_SHIFT;
    share = share < RESERVE_MIN ? (size_t)RESERVE_MIN : share;
    share = share > RESERVE_MAX ? (size_t)RESERVE_MAX : share;
    return share < hard_bytes / 4 ? share : hard_bytes / 4;
}

size_t hk_policy_press_above(size_t committed_bytes, size_t soft_bytes)
{
    size_t next = committed_bytes + (soft_bytes >> PRESS_SHIFT);
    return next < soft_bytes ? soft_bytes : next;
}

bool hk_policy_is_relieved(size_t committed_bytes, size_t soft_bytes)
{
    return committed_bytes <= soft_bytes - (soft_bytes >> PRESS_SHIFT);
}

uint64_t hk_policy_cap_raise(uint64_t cap_units, uint64_t used_units)
{
    if (used_units + (cap_units >> CAP_ENOUGH_SHIFT) + 1 <= cap_units) {
        return 0;
    }
    uint64_t growth = cap_units >> CAP_HEADROOM_SHIFT;
    return growth < HK_CAP_UNITS_MIN ? HK_CAP_UNITS_MIN : growth;
}

uint64_t hk_policy_cap_lower(uint64_t raised_units, uint64_t used_units)
{
    uint64_t wanted = used_units + (used_units >> CAP_HEADROOM_SHIFT);
    return wanted < raised_units ? (raised_units - wanted + 1) / 2 : 0;
}

uint64_t hk_policy_house_ms(uint64_t period_ms, uint64_t decay_ms, unsigned changed)
{
    uint64_t least_ms = HOUSE_EPOCHS_MIN * decay_ms;
    if (changed != 0 || period_ms < least_ms || least_ms >= HOUSE_MS_MAX) {
        return least_ms;
    }
    return hk_least(2 * period_ms, HOUSE_MS_MAX);
}
