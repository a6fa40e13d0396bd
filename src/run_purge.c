/*
 * run, giving back: free pages, and areas without a block.  See run.h.
 */
#include "bitrange.h"
#include "limit.h"
#include "options.h"
#include "os.h"
#include "policy.h"
#include "run.h"

/* Purges the dirty ones of the pages, which belong to nobody while the lock is open; returns the
 * bytes.  The program may have asked for huge pages in a block that lay there: of what is in a run
 * of a huge page's size, no such advice stays for the next ones. */
static size_t purge_pages_relocking(hk_run_area_t *area, size_t first, size_t pages, bool is_long)
{
    hk_runs_t *part = area->part;
    size_t end = first + pages;
    size_t purged = 0;
    while ((first = hk_bitrange_find_set(area->dirty, first, end - first)) < end) {
        size_t stop = hk_bitrange_find_clear(area->dirty, first, end - first);
        char *address = area->base + (first << area->page_shift);
        size_t bytes = (stop - first) << area->page_shift;
        hk_lock_release(&part->lock, HK_RANK_RUNS);
        if (is_long && hk_options.huge < 2) {
            hk_os_prefer_small(address, bytes);
        }
        bool done = hk_os_purge(address, bytes);
        hk_lock_acquire(&part->lock, HK_RANK_RUNS);
        if (done) {
            hk_bitrange_clear(area->dirty, first, stop - first);
            purged += bytes;
        }
        first = stop;
    }
    hk_limit_uncharge(purged);
    part->purged_bytes += purged;
    return purged;
}

/* Purges the part's largest dirty free run, or as many dirty pages at its end as may go. */
static size_t purge_one(hk_runs_t *part, size_t keep_bytes)
{
    size_t bytes = 0;
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    size_t surplus = hk_above(part->warm_bytes, keep_bytes);
    size_t most = surplus / hk_os_page_bytes();
    hk_run_t *run = most > 0 ? hk_run_area_find_largest_dirty_locked(part) : NULL;
    if (run != NULL) {
        hk_run_area_t *area = run->area;
        size_t first = hk_run_area_first(run);
        size_t whole = hk_run_area_pages(run);
        size_t dirty = run->dirty_pages;
        size_t kept = dirty > most ? hk_bitrange_tail(area->dirty, first, whole, most) - first : 0;
        size_t dirty_kept = hk_run_area_count_dirty(area, first, kept, dirty, whole);
        hk_run_area_take_locked(run);
        (void)hk_run_area_mark_used_locked(area, first + kept, whole - kept, false);
        if (kept > 0) {
            hk_run_area_put_rest_locked(area, first, kept, dirty_kept);
        }
        bool is_long = whole << area->page_shift >= HK_SUPERSLAB_BYTES;
        hk_limit_begin_leaving();
        bytes = purge_pages_relocking(area, first + kept, whole - kept, is_long);
        size_t left = hk_bitrange_count(area->dirty, first + kept, whole - kept);
        hk_run_area_put_locked(area, first + kept, whole - kept, left);
        hk_run_area_note_warm_locked(part);
        hk_limit_end_leaving();
    }
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return bytes;
}

static size_t dirty_bytes(const hk_run_area_t *empty)
{
    return (size_t)empty->runs->dirty_pages << empty->page_shift;
}

/* Takes an area without a block out of the part, which is leaving then; NULL if there is none. */
static hk_run_area_t *take_empty_area(hk_runs_t *part)
{
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    hk_run_area_t *area = part->areas;
    while (area != NULL &&
           !(area->runs->is_free != 0 && hk_run_area_pages(area->runs) == area->pages)) {
        area = area->next;
    }
    if (area != NULL) {
        hk_run_area_remove_locked(area);
        part->purged_bytes += dirty_bytes(area);
        hk_run_area_note_warm_locked(part);
        hk_limit_begin_leaving();
    }
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return area;
}

/* Unmaps the areas without a block, as many as there are now; returns what may have been resident
 * of them, which is charged until it is gone. */
static size_t unmap_empty_areas(void)
{
    size_t bytes = 0;
    size_t mapped = hk_run_mapped_bytes();
    for (hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
        hk_run_area_t *area;
        while (mapped > 0 && (area = take_empty_area(part)) != NULL) {
            size_t unmapped = (size_t)area->pages << area->page_shift;
            size_t dirty = dirty_bytes(area);
            mapped = hk_above(mapped, unmapped);
            hk_run_area_unmap(area);
            hk_limit_uncharge(dirty);
            hk_limit_end_leaving();
            bytes += dirty;
        }
    }
    return bytes;
}

static size_t warm_bytes_of(hk_runs_t *part)
{
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    size_t bytes = part->warm_bytes;
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return bytes;
}

/* Purges one run of the part that has most. */
static size_t purge_fullest(size_t keep_bytes)
{
    hk_runs_t *fullest = hk_runs;
    size_t most = 0;
    size_t all = 0;
    for (hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
        size_t warm = warm_bytes_of(part);
        fullest = warm > most ? part : fullest;
        most = warm > most ? warm : most;
        all += warm;
    }
    size_t surplus = hk_above(all, keep_bytes);
    return surplus > 0 ? purge_one(fullest, hk_above(most, surplus)) : 0;
}

/* Gives back as much as there is now: others free memory meanwhile, and this must end even if they
 * never stop. */
size_t hk_run_purge(size_t keep_bytes)
{
    size_t warm = hk_run_warm_bytes();
    size_t bytes = keep_bytes == 0 ? unmap_empty_areas() : 0;
    size_t more = 1;
    while (bytes + keep_bytes < warm && more != 0) {
        more = purge_fullest(keep_bytes);
        bytes += more;
    }
    return bytes;
}

/* A step for one part, of at most *left bytes, which falls by what goes.  kept is what it keeps in
 * any case. */
static size_t maintain_part(hk_runs_t *part, uint64_t now_ms, size_t kept, size_t *left)
{
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    size_t bytes = hk_epoch_take(&part->epoch, now_ms, part->warm_bytes, kept, *left);
    size_t keep = part->warm_bytes - bytes;
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    *left -= bytes;
    size_t more = bytes;
    while (bytes > 0 && more > 0) {
        more = purge_one(part, keep);
        bytes = hk_above(bytes, more);
    }
    return hk_above(keep, kept);
}

size_t hk_run_maintain(uint64_t now_ms, size_t *left)
{
    /* relaxed: a number that only rises */
    size_t kept = hk_policy_kept_run_bytes(hk_load_relaxed(&hk_run_last_part) + 1);
    size_t surplus = 0;
    for (hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
        surplus += maintain_part(part, now_ms, kept, left);
    }
    return surplus;
}
