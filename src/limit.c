/*
 * limit: see limit.h.
 */
#include "limit.h"

#include "os.h"
#include "policy.h"
#include "wall.h"

enum {
    LEAVING_MS = 100,
    ADDRESS_BITS = 48, /* no program has more */
};

_Atomic uint32_t hk_limit_pressed;

static struct {
    _Atomic size_t committed;
    _Atomic size_t bytes[HK_LIMIT_KINDS]; /* atomic: as set; 0 none */
    _Atomic size_t reserve;     /* atomic: of the hard limit, kept back; 0 once it is released */
    _Atomic size_t press_above; /* atomic: committing more than this is pressure; 0 never */
    _Atomic uint32_t leaving;   /* atomic: how often memory has begun to leave; wraps */
    _Atomic uint32_t left;      /* atomic: how often it was gone */
} limit;

/* relaxed, here and below: the figures order nothing, and each stands alone */

static void look_at_soft(size_t committed)
{
    size_t press_above = hk_load_relaxed(&limit.press_above);
    if (HK_UNLIKELY(press_above != 0 && committed > press_above)) {
        hk_store_relaxed(&hk_limit_pressed, 1);
    }
}

/* The most that may be committed now. */
static size_t bound(void)
{
    size_t hard = hk_load_relaxed(&limit.bytes[HK_LIMIT_HARD]);
    size_t reserve = hk_load_relaxed(&limit.reserve);
    return hard == 0 ? SIZE_MAX : hk_above(hard, reserve);
}

bool hk_limit_is_possible(size_t bytes, size_t alignment)
{
    return bytes <= bound() && (bytes | alignment) >> ADDRESS_BITS == 0;
}

bool hk_limit_allows(size_t bytes)
{
    size_t most = bound();
    return bytes == 0 || (bytes <= most && hk_load_relaxed(&limit.committed) <= most - bytes);
}

bool hk_limit_charge(size_t bytes)
{
    size_t most = bound();
    size_t before = hk_load_relaxed(&limit.committed);
    if (bytes == 0) {
        return true; /* also beyond the limit */
    }
    do {
        if (bytes > most || before > most - bytes) {
            return false;
        }
    } while (!hk_cas_acq_rel(&limit.committed, &before, before + bytes));
    look_at_soft(before + bytes);
    return true;
}

static void *map_counted(size_t bytes, size_t alignment, void *(*map)(size_t, size_t))
{
    if (!hk_limit_charge(bytes)) {
        return NULL;
    }
    void *memory = map(bytes, alignment);
    if (memory == NULL) {
        hk_limit_uncharge(bytes);
    }
    return memory;
}

void *hk_limit_map(size_t bytes, size_t alignment)
{
    return map_counted(bytes, alignment, hk_os_map);
}

void *hk_limit_map_walled(size_t bytes, size_t alignment)
{
    return map_counted(bytes, alignment, hk_wall_map);
}

void hk_limit_charge_always(size_t bytes)
{
    look_at_soft(hk_add_relaxed(&limit.committed, bytes) + bytes);
}

void hk_limit_uncharge(size_t bytes)
{
    size_t committed = hk_sub_relaxed(&limit.committed, bytes) - bytes;
    size_t soft = hk_load_relaxed(&limit.bytes[HK_LIMIT_SOFT]);
    if (HK_UNLIKELY(soft != 0 && hk_policy_is_relieved(committed, soft))) {
        hk_store_relaxed(&limit.press_above, soft);
    }
}

void hk_limit_begin_leaving(void)
{
    hk_add_acq_rel(&limit.leaving, 1);
}

/* release: whoever sees it sees the memory uncharged */
void hk_limit_end_leaving(void)
{
    hk_add_acq_rel(&limit.left, 1);
}

/* What a thread was giving back when a handler jumped out of it is never gone: if nothing has moved
 * all the time, it is forgotten.  Should it have been a slow call after all, more has left in the
 * end than was leaving; the next one to come evens that out. */
void hk_limit_wait_for_leaving(void)
{
    uint64_t begin_ms = hk_os_clock_ms();
    uint32_t before = hk_load_acquire(&limit.left);
    uint32_t leaving = hk_load_acquire(&limit.leaving);
    uint32_t left = before;
    if ((int32_t)(leaving - left) < 0) {
        (void)hk_cas_acq_rel(&limit.left, &left, leaving);
        return;
    }
    while ((int32_t)(leaving - left) > 0) {
        if (hk_ms_since(begin_ms, hk_os_clock_ms()) > LEAVING_MS) {
            if (left == before) {
                (void)hk_cas_acq_rel(&limit.leaving, &leaving, left);
            }
            return;
        }
        hk_os_yield();
        left = hk_load_acquire(&limit.left);
    }
}

size_t hk_limit_committed_bytes(void)
{
    return hk_load_relaxed(&limit.committed);
}

void hk_limit_set(hk_limit_kind_t kind, size_t bytes)
{
    if (kind == HK_LIMIT_HARD) {
        hk_store_relaxed(&limit.reserve, hk_policy_reserve_bytes(bytes));
    } else {
        hk_store_relaxed(&limit.press_above, bytes);
        hk_store_relaxed(&hk_limit_pressed, 0);
    }
    hk_store_relaxed(&limit.bytes[kind], bytes);
    look_at_soft(hk_limit_committed_bytes());
}

size_t hk_limit_get(hk_limit_kind_t kind)
{
    return hk_load_relaxed(&limit.bytes[kind]);
}

size_t hk_limit_release_reserve(void)
{
    return hk_exchange_acq_rel(&limit.reserve, 0); /* pairs with nothing: a figure */
}

bool hk_limit_take_pressure(void)
{
    return hk_exchange_acq_rel(&hk_limit_pressed, 0) != 0;
}

void hk_limit_press_again(void)
{
    hk_store_relaxed(&hk_limit_pressed, 1);
}

bool hk_limit_is_exceeded(void)
{
    size_t soft = hk_limit_get(HK_LIMIT_SOFT);
    return soft != 0 && hk_limit_committed_bytes() > soft;
}

void hk_limit_settle(void)
{
    size_t soft = hk_limit_get(HK_LIMIT_SOFT);
    size_t next = soft == 0 ? 0 : hk_policy_press_above(hk_limit_committed_bytes(), soft);
    hk_store_relaxed(&limit.press_above, next);
    hk_store_relaxed(&hk_limit_pressed, 0);
}
