/*
 * run: see run.h.
 */
#include "run.h"

#include "bitrange.h"
#include "limit.h"
#include "log.h"
#include "os.h"
#include "policy.h"

static size_t pages_of(size_t bytes)
{
    size_t page_bytes = hk_os_page_bytes();
    return bytes == 0 ? 1 : (bytes + page_bytes - 1) / page_bytes;
}

/* ---- Allocating ---- */

/* How many of the pages are dirty: part of a run that has whole pages and dirty_pages dirty
 * ones. */
static size_t count_dirty(const hk_run_area_t *area, size_t first, size_t pages, size_t dirty_pages,
                          size_t whole)
{
    return dirty_pages == 0       ? 0
           : dirty_pages == whole ? pages
                                  : hk_bitrange_count(area->dirty, first, pages);
}

/* Counts clean pages as committed, and all as dirty; false if the limit forbids it. */
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
    size_t dirty_before = count_dirty(area, start, before, dirty, whole);
    size_t dirty_behind =
        behind < pages ? count_dirty(area, first + pages, behind, dirty, whole)
                       : dirty - dirty_before -
                             count_dirty(area, first, pages, dirty, whole); /* less to count */
    size_t clean = pages - (dirty - dirty_before - dirty_behind);
    hk_run_area_take_locked(free_run);
    if (!commit_pages(area, first, pages, clean)) {
        hk_run_area_put_locked(area, start, whole, dirty);
        return NULL;
    }
    *fresh = clean == pages;
    hk_run_t *run = hk_run_area_mark_used_locked(area, first, pages, true);
    if (before > 0) {
        hk_run_area_put_locked(area, start, before, dirty_before);
    }
    if (behind > 0) {
        hk_run_area_put_locked(area, first + pages, behind, dirty_behind);
    }
    run->heap = NULL;
    hk_run_area_add_used_locked(pages << area->page_shift);
    return run;
}

hk_run_t *hk_run_allocate(size_t bytes, size_t alignment, bool *fresh)
{
    size_t pages = pages_of(bytes);
    size_t step = pages_of(alignment);
    size_t room = pages + step - 1;
    hk_run_t *run = NULL;
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    hk_run_t *whole = hk_run_area_find_locked(room);
    if (whole == NULL && hk_limit_allows(bytes)) {
        hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
        hk_run_area_t *area = hk_run_area_map(room * hk_os_page_bytes());
        hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
        if (area != NULL) {
            hk_run_area_add_locked(area);
        }
        whole = hk_run_area_find_locked(room);
    }
    if (whole != NULL) {
        run = cut_locked(whole, pages, step, fresh);
        hk_run_area_note_warm_locked();
    }
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    return run;
}

hk_run_t *hk_run_allocate_warm(size_t bytes, bool *fresh)
{
    size_t pages = pages_of(bytes);
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    hk_run_t *whole = hk_run_area_find_warm_locked(pages);
    hk_run_t *run = whole != NULL ? cut_locked(whole, pages, 1, fresh) : NULL;
    hk_run_area_note_warm_locked();
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
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
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    size_t start = page;
    while (start > 0 && !hk_run_area_is_block(area, start)) {
        start--;
    }
    bool covers =
        hk_run_area_is_live(area, start) && page - start < hk_run_area_pages(&area->runs[start]);
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    return covers;
}

bool hk_run_free(hk_run_t *run)
{
    hk_run_area_t *area = run->area;
    size_t first = hk_run_area_first(run);
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    bool is_live = hk_run_area_is_live(area, first);
    if (is_live) {
        hk_run_area_free_locked(run);
    }
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
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
    size_t dirty_rest = count_dirty(area, first + more, whole - more, dirty, whole);
    hk_run_area_take_locked(behind);
    if (!commit_pages(area, first, more, more - (dirty - dirty_rest))) {
        hk_run_area_put_locked(area, first, whole, dirty);
        return false;
    }
    (void)hk_run_area_mark_used_locked(area, hk_run_area_first(run), pages, true);
    if (whole > more) {
        hk_run_area_put_locked(area, first + more, whole - more, dirty_rest);
    }
    return true;
}

bool hk_run_resize(hk_run_t *run, size_t bytes)
{
    size_t pages = pages_of(bytes);
    bool done = true;
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    size_t first = hk_run_area_first(run);
    size_t old_pages = hk_run_area_pages(run);
    if (pages > old_pages) {
        done = extend_locked(run, pages);
        hk_run_area_note_warm_locked();
    } else if (pages < old_pages) {
        size_t surplus = old_pages - pages;
        (void)hk_run_area_mark_used_locked(run->area, first, pages, true);
        hk_run_area_put_locked(run->area, first + pages, surplus, surplus);
    }
    if (done) {
        hk_run_area_add_used_locked((pages - old_pages) << run->area->page_shift);
    }
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    return done;
}

/* ---- Giving back ---- */

/* Purges what is dirty of pages that are nobody's while the lock is open; returns the bytes. */
static size_t purge_pages_relocking(hk_run_area_t *area, size_t first, size_t pages)
{
    size_t end = first + pages;
    size_t purged = 0;
    while ((first = hk_bitrange_find_set(area->dirty, first, end - first)) < end) {
        size_t stop = hk_bitrange_find_clear(area->dirty, first, end - first);
        hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
        bool done = hk_os_purge(area->base + (first << area->page_shift), (stop - first)
                                                                              << area->page_shift);
        hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
        if (done) {
            hk_bitrange_clear(area->dirty, first, stop - first);
            purged += (stop - first) << area->page_shift;
        }
        first = stop;
    }
    hk_limit_uncharge(purged);
    hk_runs.purged_bytes += purged;
    return purged;
}

/* Purges the largest dirty free run, or as many dirty pages at its end as may go. */
static size_t purge_one(size_t keep_bytes)
{
    size_t bytes = 0;
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    size_t surplus = hk_runs.warm_bytes > keep_bytes ? hk_runs.warm_bytes - keep_bytes : 0;
    size_t most = surplus / hk_os_page_bytes();
    hk_run_t *run = most > 0 ? hk_run_area_find_dirty_locked() : NULL;
    if (run != NULL) {
        hk_run_area_t *area = run->area;
        size_t first = hk_run_area_first(run);
        size_t whole = hk_run_area_pages(run);
        size_t dirty = run->dirty_pages;
        size_t kept = dirty > most ? hk_bitrange_tail(area->dirty, first, whole, most) - first : 0;
        size_t dirty_kept = count_dirty(area, first, kept, dirty, whole);
        hk_run_area_take_locked(run);
        (void)hk_run_area_mark_used_locked(area, first + kept, whole - kept, false);
        if (kept > 0) {
            hk_run_area_put_locked(area, first, kept, dirty_kept);
        }
        bytes = purge_pages_relocking(area, first + kept, whole - kept);
        size_t left = hk_bitrange_count(area->dirty, first + kept, whole - kept);
        hk_run_area_put_locked(area, first + kept, whole - kept, left);
        hk_run_area_note_warm_locked();
    }
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    return bytes;
}

/* Takes an area without a block out; NULL if there is none.  *bytes grows by what may be resident
 * of it. */
static hk_run_area_t *take_empty_area(size_t *bytes)
{
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    hk_run_area_t *area = hk_runs.areas;
    while (area != NULL &&
           !(area->runs->is_free != 0 && hk_run_area_pages(area->runs) == area->pages)) {
        area = area->next;
    }
    if (area != NULL) {
        size_t dirty = (size_t)area->runs->dirty_pages << area->page_shift;
        hk_run_area_remove_locked(area);
        hk_limit_uncharge(dirty);
        hk_runs.purged_bytes += dirty;
        *bytes += dirty;
        hk_run_area_note_warm_locked();
    }
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    return area;
}

/* As much as there is now: others free meanwhile, and this must end before they do. */
size_t hk_run_purge(size_t keep_bytes)
{
    size_t bytes = 0;
    size_t warm = hk_run_warm_bytes();
    size_t mapped = keep_bytes == 0 ? hk_run_mapped_bytes() : 0;
    hk_run_area_t *area;
    while (mapped > 0 && (area = take_empty_area(&bytes)) != NULL) {
        size_t unmapped = (size_t)area->pages << area->page_shift;
        mapped -= unmapped < mapped ? unmapped : mapped;
        hk_run_area_unmap(area);
    }
    size_t more = 1;
    while (bytes + keep_bytes < warm && more != 0) {
        more = purge_one(keep_bytes);
        bytes += more;
    }
    return bytes;
}

/* Ends the epoch if it is over; returns how many bytes are to go back now. */
static size_t take_surplus_locked(uint64_t now_ms)
{
    if (now_ms - hk_runs.epoch_ms >= HK_DECAY_MS) {
        hk_runs.epoch_ms = now_ms;
        hk_runs.surplus_bytes = hk_policy_purge_run_bytes(hk_runs.warm_low_water);
        hk_runs.warm_low_water = hk_runs.warm_bytes;
    }
    size_t most = hk_policy_purge_run_bytes(hk_runs.warm_bytes); /* some may be in use again */
    size_t bytes = hk_runs.surplus_bytes < most ? hk_runs.surplus_bytes : most;
    hk_runs.surplus_bytes = bytes;
    bytes = bytes < HK_DECAY_STEP_BYTES ? bytes : HK_DECAY_STEP_BYTES;
    hk_runs.surplus_bytes -= bytes;
    return bytes;
}

size_t hk_run_maintain(uint64_t now_ms)
{
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    size_t bytes = take_surplus_locked(now_ms);
    size_t keep = hk_runs.warm_bytes - bytes;
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    if (bytes > 0) {
        (void)hk_run_purge(keep);
    }
    return hk_policy_purge_run_bytes(keep);
}

/* ---- Figures ---- */

size_t hk_run_used_bytes(void)
{
    return hk_load_relaxed(&hk_runs.used_bytes); /* relaxed: a statistic */
}

static size_t read_locked(const size_t *figure)
{
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    size_t bytes = *figure;
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    return bytes;
}

size_t hk_run_reused_bytes(size_t bytes)
{
    size_t pages = pages_of(bytes);
    size_t reused = 0;
    hk_lock_acquire(&hk_runs.lock, HK_RANK_RUNS);
    const hk_run_t *run = hk_run_area_find_locked(pages);
    if (run != NULL) {
        reused = count_dirty(run->area, hk_run_area_first(run), pages, run->dirty_pages,
                             hk_run_area_pages(run));
    }
    hk_lock_release(&hk_runs.lock, HK_RANK_RUNS);
    return reused * hk_os_page_bytes();
}

size_t hk_run_warm_bytes(void)
{
    return read_locked(&hk_runs.warm_bytes);
}

size_t hk_run_mapped_bytes(void)
{
    return read_locked(&hk_runs.mapped_bytes);
}

size_t hk_run_descriptor_bytes(void)
{
    return read_locked(&hk_runs.descriptor_bytes);
}

size_t hk_run_purged_bytes(void)
{
    return read_locked(&hk_runs.purged_bytes);
}

void hk_run_reset_lock(void)
{
    hk_lock_reset(&hk_runs.lock);
}
