/*
 * run: see run.h.
 */
#include "run.h"

#include "bitrange.h"
#include "convert.h"
#include "limit.h"
#include "os.h"
#include "run_part.h"

static size_t pages_of(size_t bytes)
{
    size_t page_bytes = hk_os_page_bytes();
    /* Shifted: a division by what the compiler does not know takes long. */
    return bytes == 0 ? 1 : (bytes + page_bytes - 1) >> __builtin_ctzl(page_bytes);
}

/* ---- Allocating ---- */

/* Charges the clean pages and marks all as dirty; false if the limit forbids it. */
static bool commit_pages(hk_run_area_t *area, size_t first, size_t pages, size_t clean_pages)
{
    if (clean_pages > 0) {
        if (!hk_limit_charge(clean_pages << area->page_shift)) {
            return false;
        }
        hk_bitrange_set(area->dirty, first, pages);
    }
    return true;
}

/* Cuts a used run out of a free one, at a multiple of step pages; NULL if the limit forbids it. */
static hk_run_t *cut_locked(hk_run_t *free_run, size_t pages, size_t step, bool *fresh)
{
    hk_run_area_t *area = free_run->area;
    size_t start = hk_run_area_first(free_run);
    size_t whole = hk_run_area_pages(free_run);
    size_t dirty = free_run->dirty_pages;
    size_t first = hk_align_up(start, step); /* the area starts at a multiple of 2 MiB */
    size_t before = first - start;
    size_t behind = whole - before - pages;
    size_t dirty_before = hk_run_area_count_dirty(area, start, before, dirty, whole);
    size_t dirty_behind =
        behind < pages
            ? hk_run_area_count_dirty(area, first + pages, behind, dirty, whole)
            : dirty - dirty_before -
                  hk_run_area_count_dirty(area, first, pages, dirty, whole); /* less to count */
    size_t clean = pages - (dirty - dirty_before - dirty_behind);
    hk_run_area_take_locked(free_run);
    if (!commit_pages(area, first, pages, clean)) {
        hk_run_area_put_locked(area, start, whole, dirty);
        return NULL;
    }
    *fresh = clean == pages;
    hk_run_t *run = hk_run_area_mark_used_locked(area, first, pages, true);
    if (before > 0) {
        hk_run_area_put_rest_locked(area, start, before, dirty_before);
    }
    if (behind > 0) {
        hk_run_area_put_rest_locked(area, first + pages, behind, dirty_behind);
    }
    run->heap = NULL;
    hk_run_area_add_used_locked(area->part, pages << area->page_shift);
    return run;
}

/* Whether so many pages at a multiple of step lie in the free run. */
static bool holds(const hk_run_t *whole, size_t pages, size_t step)
{
    size_t start = hk_run_area_first(whole);
    return hk_align_up(start, step) - start + pages <= hk_run_area_pages(whole);
}

/* A free run that holds so many pages at a multiple of step; NULL if there is none.  One that is
 * hardly larger may do: where blocks are as large as their alignment, all free runs are like
 * that. */
static hk_run_t *find_aligned_locked(hk_runs_t *part, size_t pages, size_t step,
                                     hk_run_t *(*find)(hk_runs_t *part, size_t pages))
{
    hk_run_t *whole = find(part, pages);
    return whole == NULL || holds(whole, pages, step) ? whole : find(part, pages + step - 1);
}

/* The same if a free run was found, else (NULL) nothing; either way notes what is warm in the
 * part. */
static hk_run_t *cut_or_not_locked(hk_runs_t *part, hk_run_t *whole, size_t pages, size_t step,
                                   bool *fresh)
{
    hk_run_t *run = whole != NULL ? cut_locked(whole, pages, step, fresh) : NULL;
    hk_run_area_note_warm_locked(part);
    return run;
}

/* A block of the part's resident pages; NULL if there is no room. */
static hk_run_t *allocate_warm_locked(hk_runs_t *part, size_t pages, size_t step, bool *fresh)
{
    hk_run_t *whole = find_aligned_locked(part, pages, step, hk_run_area_find_warm_locked);
    return cut_or_not_locked(part, whole, pages, step, fresh);
}

/* A block out of another part than the thread's own.  If any is clear: of resident pages, and only
 * where nobody holds the lock just now.  If it is set, as a last resort: of any pages, and the
 * locks are waited for. */
static hk_run_t *allocate_elsewhere(const hk_runs_t *own, size_t pages, size_t step, bool any,
                                    bool *fresh)
{
    hk_run_t *run = NULL;
    for (hk_runs_t *part = NULL; run == NULL && (part = hk_run_area_next_part(part)) != NULL;) {
        if (part == own || (!any && !hk_lock_try_acquire(&part->lock, HK_RANK_RUNS))) {
            continue;
        }
        if (any) {
            hk_lock_acquire(&part->lock, HK_RANK_RUNS);
        }
        hk_run_t *whole = find_aligned_locked(
            part, pages, step, any ? hk_run_area_find_locked : hk_run_area_find_warm_locked);
        run = cut_or_not_locked(part, whole, pages, step, fresh);
        hk_lock_release(&part->lock, HK_RANK_RUNS);
    }
    return run;
}

/* A block of pages that the slabs have made free. */
static hk_run_t *allocate_converted(hk_runs_t *part, size_t pages, size_t step, bool *fresh)
{
    if (!hk_convert_to_runs(part, (pages + step - 1) * hk_os_page_bytes())) {
        return NULL;
    }
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    hk_run_t *run = allocate_warm_locked(part, pages, step, fresh);
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return run != NULL ? run : allocate_elsewhere(part, pages, step, false, fresh);
}

/* A block of the thread's own part, of pages that need not be resident; out of a new area if there
 * is no room. */
static hk_run_t *allocate_anew(hk_runs_t *part, size_t pages, size_t step, bool *fresh)
{
    size_t room = pages + step - 1;
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    hk_run_t *whole = find_aligned_locked(part, pages, step, hk_run_area_find_locked);
    if (whole == NULL && hk_limit_allows(pages * hk_os_page_bytes())) {
        hk_lock_release(&part->lock, HK_RANK_RUNS);
        hk_run_area_t *area = hk_run_area_map(part, room * hk_os_page_bytes());
        hk_lock_acquire(&part->lock, HK_RANK_RUNS);
        if (area != NULL) {
            hk_run_area_add_locked(area);
        }
        whole = find_aligned_locked(part, pages, step, hk_run_area_find_locked);
    }
    hk_run_t *run = cut_or_not_locked(part, whole, pages, step, fresh);
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return run;
}

hk_run_t *hk_run_allocate(size_t bytes, size_t alignment, bool *fresh)
{
    size_t pages = pages_of(bytes);
    size_t step = pages_of(alignment);
    hk_runs_t *part = hk_run_part_acquire();
    hk_run_t *run = allocate_warm_locked(part, pages, step, fresh);
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    run = run != NULL ? run : allocate_elsewhere(part, pages, step, false, fresh);
    run = run != NULL ? run : allocate_converted(part, pages, step, fresh);
    run = run != NULL ? run : allocate_anew(part, pages, step, fresh);
    return run != NULL ? run : allocate_elsewhere(part, pages, step, true, fresh);
}

hk_run_t *hk_run_allocate_warm(size_t bytes, bool *fresh)
{
    size_t pages = pages_of(bytes);
    hk_runs_t *part = hk_run_part_acquire();
    hk_run_t *run = allocate_warm_locked(part, pages, 1, fresh);
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return run;
}

/* ---- Blocks ---- */

hk_run_t *hk_run_find(hk_run_area_t *area, const void *address)
{
    size_t offset = (size_t)((const char *)address - area->base);
    size_t page = offset >> area->page_shift;
    bool found = page << area->page_shift == offset && hk_run_area_is_live(area, page);
    return found ? &area->runs[page] : NULL;
}

bool hk_run_covers(hk_run_area_t *area, const void *address)
{
    size_t page = (size_t)((const char *)address - area->base) >> area->page_shift;
    hk_lock_acquire(&area->part->lock, HK_RANK_RUNS);
    size_t start = page;
    while (start > 0 && !hk_run_area_is_block(area, start)) {
        start--;
    }
    bool covers =
        hk_run_area_is_live(area, start) && page - start < hk_run_area_pages(&area->runs[start]);
    hk_lock_release(&area->part->lock, HK_RANK_RUNS);
    return covers;
}

bool hk_run_free(hk_run_t *run)
{
    hk_run_area_t *area = run->area;
    size_t first = hk_run_area_first(run);
    hk_lock_acquire(&area->part->lock, HK_RANK_RUNS);
    bool is_live = hk_run_area_is_live(area, first);
    if (is_live) {
        hk_run_area_free_locked(run);
    }
    hk_lock_release(&area->part->lock, HK_RANK_RUNS);
    return is_live;
}

/* Takes the pages behind a block from the free run there; false if they do not suffice. */
static bool extend_locked(hk_run_t *run, size_t pages)
{
    hk_run_area_t *area = run->area;
    size_t first = hk_run_area_first(run) + hk_run_area_pages(run);
    size_t more = pages - hk_run_area_pages(run);
    hk_run_t *behind = hk_run_area_free_at_locked(area, first);
    if (behind == NULL || hk_run_area_pages(behind) < more) {
        return false;
    }
    size_t whole = hk_run_area_pages(behind);
    size_t dirty = behind->dirty_pages;
    size_t dirty_rest = hk_run_area_count_dirty(area, first + more, whole - more, dirty, whole);
    hk_run_area_take_locked(behind);
    if (!commit_pages(area, first, more, more - (dirty - dirty_rest))) {
        hk_run_area_put_locked(area, first, whole, dirty);
        return false;
    }
    (void)hk_run_area_mark_used_locked(area, hk_run_area_first(run), pages, true);
    if (whole > more) {
        hk_run_area_put_rest_locked(area, first + more, whole - more, dirty_rest);
    }
    return true;
}

bool hk_run_resize(hk_run_t *run, size_t bytes)
{
    size_t pages = pages_of(bytes);
    bool done = true;
    hk_runs_t *part = run->area->part;
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    size_t first = hk_run_area_first(run);
    size_t old_pages = hk_run_area_pages(run);
    if (pages > old_pages) {
        done = extend_locked(run, pages);
        hk_run_area_note_warm_locked(part);
    } else if (pages < old_pages) {
        size_t surplus = old_pages - pages;
        (void)hk_run_area_mark_used_locked(run->area, first, pages, true);
        hk_run_area_put_locked(run->area, first + pages, surplus, surplus);
    }
    if (done) {
        hk_run_area_add_used_locked(part, (pages - old_pages) << run->area->page_shift);
    }
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return done;
}

/* ---- Figures ---- */

size_t hk_run_used_bytes(void)
{
    size_t bytes = 0;
    for (const hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
        bytes += hk_load_relaxed(&part->used_bytes); /* relaxed: a statistic */
    }
    return bytes;
}

/* Of all parts, a figure that lies so far behind the start of each. */
static size_t sum(size_t offset)
{
    size_t bytes = 0;
    for (hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
        hk_lock_acquire(&part->lock, HK_RANK_RUNS);
        bytes += *(const size_t *)((const char *)part + offset);
        hk_lock_release(&part->lock, HK_RANK_RUNS);
    }
    return bytes;
}

size_t hk_run_reused_bytes(size_t bytes)
{
    size_t pages = pages_of(bytes);
    size_t reused = 0;
    hk_runs_t *part = hk_run_part_acquire();
    const hk_run_t *run = hk_run_area_find_locked(part, pages);
    if (run != NULL) {
        reused = hk_run_area_count_dirty(run->area, hk_run_area_first(run), pages, run->dirty_pages,
                                         hk_run_area_pages(run));
    }
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return reused * hk_os_page_bytes();
}

size_t hk_run_warm_bytes(void)
{
    return sum(offsetof(hk_runs_t, warm_bytes));
}

size_t hk_run_mapped_bytes(void)
{
    return sum(offsetof(hk_runs_t, mapped_bytes));
}

size_t hk_run_descriptor_bytes(void)
{
    return sum(offsetof(hk_runs_t, descriptor_bytes));
}

size_t hk_run_purged_bytes(void)
{
    return sum(offsetof(hk_runs_t, purged_bytes));
}

void hk_run_reset_lock(void)
{
    for (hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
        hk_lock_reset(&part->lock);
    }
}
