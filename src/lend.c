/*
 * lend: see lend.h.
 */
#include "lend.h"

#include "limit.h"
#include "live.h"
#include "options.h"
#include "os.h"

enum {
    SEARCH_DEPTH = 16,                            /* free runs of a bin that are looked at */
    DIRTY_BYTES_MIN = HK_SUPERSLAB_BYTES / 4 * 3, /* what of a slot must be resident */
    SLOT_UNITS = HK_SUPERSLAB_BYTES >> HK_UNIT_SHIFT,
};

static_assert(HK_RUN_AREA_BYTES_MAX >> HK_SUPERSLAB_SHIFT <= 32, "a bit for each slot of an area");

bool hk_lend_is_possible(void)
{
    return hk_options.harden == 0 && hk_options.huge < 2 && hk_os_page_bytes() <= HK_LIVE_BYTES;
}

static size_t slot_pages(const hk_run_area_t *area)
{
    return (size_t)HK_SUPERSLAB_BYTES >> area->page_shift;
}

static size_t unit_pages(const hk_run_area_t *area)
{
    return (size_t)HK_UNIT_BYTES >> area->page_shift;
}

/* ---- Lending ---- */

/* The page at which the run's first slot begins that is resident enough; SIZE_MAX if there is
 * none. */
static size_t find_slot(const hk_run_t *run)
{
    const hk_run_area_t *area = run->area;
    if ((size_t)run->dirty_pages << area->page_shift < DIRTY_BYTES_MIN) {
        return SIZE_MAX;
    }
    size_t pages = slot_pages(area);
    size_t end = hk_run_area_first(run) + hk_run_area_pages(run);
    size_t first = hk_align_up(hk_run_area_first(run), pages);
    for (; first + pages <= end; first += pages) {
        if (hk_bitrange_count(area->dirty, first, pages) << area->page_shift >= DIRTY_BYTES_MIN) {
            return first;
        }
    }
    return SIZE_MAX;
}

/* The smallest free run with such a slot, roughly; NULL if there is none. */
static hk_run_t *find_run(const hk_runs_t *part, size_t *first)
{
    size_t bin = hk_run_area_bin(HK_SUPERSLAB_BYTES / hk_os_page_bytes());
    while ((bin = hk_bitrange_find_set(part->filled[1], bin, HK_RUN_BINS - bin)) < HK_RUN_BINS) {
        hk_run_t *run = part->bins[1][bin];
        for (unsigned i = 0; run != NULL && i < SEARCH_DEPTH; i++, run = run->next) {
            *first = find_slot(run);
            if (*first != SIZE_MAX) {
                return run;
            }
        }
        bin++;
    }
    return NULL;
}

static uint32_t find_dirty_units(const hk_run_area_t *area, size_t first)
{
    uint32_t units = 0;
    for (unsigned unit = 1; unit < SLOT_UNITS; unit++) {
        first += unit_pages(area);
        units |= (uint32_t)(hk_bitrange_count(area->dirty, first, unit_pages(area)) > 0) << unit;
    }
    return units;
}

static size_t bytes_of(const hk_loan_t *loan)
{
    return loan->first_bytes + (hk_bitrange_sum(loan->dirty_units) << HK_UNIT_SHIFT);
}

/* Makes a slot of the free run, with so many dirty pages, a used run without a block. */
static void cut_slot_locked(hk_run_t *free_run, size_t first, size_t dirty)
{
    hk_run_area_t *area = free_run->area;
    size_t start = hk_run_area_first(free_run);
    size_t behind = first + slot_pages(area);
    size_t end = start + hk_run_area_pages(free_run);
    size_t dirty_before = hk_bitrange_count(area->dirty, start, first - start);
    size_t dirty_behind = free_run->dirty_pages - dirty_before - dirty;
    hk_run_area_take_locked(free_run);
    (void)hk_run_area_mark_used_locked(area, first, slot_pages(area), false);
    if (first > start) {
        hk_run_area_put_rest_locked(area, start, first - start, dirty_before);
    }
    if (end > behind) {
        hk_run_area_put_rest_locked(area, behind, end - behind, dirty_behind);
    }
    area->lent |= 1u << first / slot_pages(area);
}

static bool lend_locked(hk_runs_t *part, hk_loan_t *loan)
{
    size_t first;
    hk_run_t *run = part->unneeded_bytes >= HK_SUPERSLAB_BYTES ? find_run(part, &first) : NULL;
    if (run == NULL) {
        return false;
    }
    hk_run_area_t *area = run->area;
    loan->area = area;
    loan->base = area->base + (first << area->page_shift);
    loan->dirty_units = find_dirty_units(area, first);
    loan->first_bytes = HK_UNIT_BYTES;
    /* Charged are its dirty pages; from now on, the units that have any. */
    size_t dirty = hk_bitrange_count(area->dirty, first, slot_pages(area));
    if (!hk_limit_charge(bytes_of(loan) - (dirty << area->page_shift))) {
        return false;
    }
    cut_slot_locked(run, first, dirty);
    return true;
}

bool hk_lend_slot(hk_loan_t *loan)
{
    bool lent = false;
    for (hk_runs_t *part = NULL; !lent && (part = hk_run_area_next_part(part)) != NULL;) {
        if (!hk_lock_try_acquire(&part->lock, HK_RANK_RUNS)) {
            continue;
        }
        lent = lend_locked(part, loan);
        hk_run_area_note_warm_locked(part);
        part->unneeded_bytes = part->warm_bytes; /* counts anew */
        hk_lock_release(&part->lock, HK_RANK_RUNS);
    }
    return lent;
}

/* ---- Taking back ---- */

void hk_lend_mark_dirty(const hk_loan_t *loan)
{
    hk_run_area_t *area = loan->area;
    size_t first = (size_t)(loan->base - area->base) >> area->page_shift;
    hk_bitrange_clear(area->dirty, first, slot_pages(area));
    hk_bitrange_set(area->dirty, first, loan->first_bytes >> area->page_shift);
    for (unsigned unit = 1; unit < SLOT_UNITS; unit++) {
        if ((loan->dirty_units >> unit & 1) != 0) {
            hk_bitrange_set(area->dirty, first + unit * unit_pages(area), unit_pages(area));
        }
    }
}

void hk_lend_take_back(const hk_loan_t *loan)
{
    hk_run_area_t *area = loan->area;
    size_t first = (size_t)(loan->base - area->base) >> area->page_shift;
    hk_lock_acquire(&area->part->lock, HK_RANK_RUNS);
    hk_lend_mark_dirty(loan);
    area->lent &= ~(1u << first / slot_pages(area));
    hk_run_area_put_locked(area, first, slot_pages(area), bytes_of(loan) >> area->page_shift);
    hk_lock_release(&area->part->lock, HK_RANK_RUNS);
}
