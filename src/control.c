/*
 * control: see control.h.
 */
#include "control.h"

#include <errno.h>
#include <hakmem/hakmem.h>

#include "cap.h"
#include "cgroup.h"
#include "housekeeper.h"
#include "log.h"
#include "options.h"
#include "os.h"
#include "path.h"
#include "policy.h"
#include "reclaim.h"

enum {
    HARD_LIMIT_MIN = 2 << 20,     /* below this a program gets no further than its loader */
    CAP_MIN = 4 << HK_UNIT_SHIFT, /* the largest slab */
};

static_assert((int)HAK_LIMIT_HARD == (int)HK_LIMIT_HARD &&
                  (int)HAK_LIMIT_SOFT == (int)HK_LIMIT_SOFT,
              "the public names are the internal ones");

/* "hakmem: <what> <before><number><after>" */
static void warn(const char *what, const char *before, size_t number, const char *after)
{
    hk_line_t line = {0};
    hk_line_text(&line, before);
    hk_line_number(&line, number);
    hk_line_text(&line, after);
    hk_log_warning(what, hk_line_end(&line));
}

/* A share is of the control group's limit; without one, of the machine's memory; 0 if a sandbox
 * shows neither.  What is said of that is said once, however many shares there are. */
static size_t share_bytes(unsigned percent)
{
    static _Atomic uint64_t shares; /* atomic, relaxed: a count */
    uint64_t whole = hk_cgroup_limit_bytes();
    if (whole == 0) {
        whole = hk_os_physical_bytes();
        bool first = hk_add_relaxed(&shares, 1) == 0;
        if (first && whole == 0) {
            hk_log_warning("no cgroup memory limit, and the physical memory is not known:",
                           "a share of it is no limit");
        } else if (first) {
            warn("no cgroup memory limit:", "a share is of the physical memory, ", whole, " bytes");
        }
    }
    return (size_t)(whole / 100 * percent);
}

static void set_limit(hk_limit_kind_t kind, size_t bytes)
{
    if (kind == HK_LIMIT_HARD && bytes != 0 && bytes < hk_limit_committed_bytes()) {
        (void)hk_path_trim(0);
        if (bytes < hk_limit_committed_bytes()) {
            warn("the limit is below what is in use:", "nothing more is granted before ",
                 hk_limit_committed_bytes() - bytes, " bytes are freed");
        }
    }
    hk_limit_set(kind, bytes);
}

static bool is_limit(hak_limit_t limit)
{
    return limit == HAK_LIMIT_HARD || limit == HAK_LIMIT_SOFT;
}

HAK_API int hak_limit_set(hak_limit_t limit, size_t bytes)
{
    if (!is_limit(limit)) {
        return EINVAL;
    }
    set_limit((hk_limit_kind_t)limit, bytes);
    return 0;
}

HAK_API int hak_limit_set_share(hak_limit_t limit, unsigned percent)
{
    if (!is_limit(limit) || percent < 1 || percent > 100) {
        return EINVAL;
    }
    size_t bytes = share_bytes(percent);
    return bytes == 0 ? ENOSYS : hak_limit_set(limit, bytes);
}

HAK_API size_t hak_limit_get(hak_limit_t limit)
{
    return is_limit(limit) ? hk_limit_get((hk_limit_kind_t)limit) : 0;
}

HAK_API size_t hak_limit_committed(void)
{
    return hk_limit_committed_bytes();
}

HAK_API void hak_limit_notify(hak_limit_notify_t notify)
{
    hk_reclaim_set_notify(notify);
}

HAK_API size_t hak_limit_release_reserve(void)
{
    return hk_limit_release_reserve();
}

HAK_API int hak_housekeeper_start(void)
{
    return hk_housekeeper_start();
}

HAK_API void hak_housekeeper_stop(void)
{
    hk_housekeeper_stop();
}

static size_t amount_bytes(const hk_amount_t *amount)
{
    return amount->percent != 0 ? share_bytes((unsigned)amount->percent) : amount->bytes;
}

static size_t hard_limit(void)
{
    size_t hard = amount_bytes(&hk_options.limit);
    if (hard != 0 && hard < HARD_LIMIT_MIN) {
        warn("HAKMEM_LIMIT is too low to start with:", "the limit is ", HARD_LIMIT_MIN, " bytes");
        hard = HARD_LIMIT_MIN;
    }
    return hard;
}

/* What acts only above so many bytes never does if the hard limit grants no more. */
static void warn_out_of_reach(const char *what, size_t bytes, size_t hard)
{
    size_t granted = hard - hk_policy_reserve_bytes(hard);
    if (hard != 0 && bytes >= granted) {
        warn(what, "HAKMEM_LIMIT grants ", granted, " bytes, the rest is its reserve");
    }
}

/* Strict mode promises to keep a cap or a limit; without either it is the normal mode.  In that a
 * high cap has an effect: nothing is reclaimed for it. */
static void start_caps(size_t cap, size_t hard)
{
    uint64_t mode = hk_options.tiny_ss_shared;
    if (mode == 2 && cap == 0 && hard == 0) {
        hk_log_warning("HAKMEM_TINY_SS_SHARED=2 needs HAKMEM_CAP or HAKMEM_LIMIT:",
                       "a request is always served");
        mode = 1;
    }
    if (cap != 0 && cap < CAP_MIN) {
        warn("HAKMEM_CAP is too low for one slab of each class:", "the cap is ", CAP_MIN, " bytes");
        cap = CAP_MIN;
    }
    if (mode == 2) {
        warn_out_of_reach("HAKMEM_CAP has no effect:", cap, hard);
    }
    hk_cap_start(mode, cap);
}

void hk_control_start(void)
{
    size_t hard = hard_limit();
    size_t soft = amount_bytes(&hk_options.soft_limit);
    start_caps(amount_bytes(&hk_options.cap), hard);
    if (hk_options.housekeeper != 0) {
        hk_housekeeper_want();
    }
    warn_out_of_reach("HAKMEM_SOFT_LIMIT has no effect:", soft, hard);
    if (soft != 0) {
        set_limit(HK_LIMIT_SOFT, soft);
    }
    if (hard != 0) {
        set_limit(HK_LIMIT_HARD, hard);
    }
}
