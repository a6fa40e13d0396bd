/*
 * run_area: see run_area.h.
 */
#include "run_area.h"

#include "bitrange.h"
#include "limit.h"
#include "list.h"
#include "log.h"
#include "options.h"
#include "os.h"
#include "policy.h"

hk_runs_t hk_runs[HK_PARTS];
_Atomic uint32_t hk_run_last_part;

enum { SEARCH_DEPTH = 16 }; /* a bin of several sizes is searched this far */

/* ---- Areas ---- */

size_t hk_run_area_descriptor_bytes(size_t pages)
{
    size_t bytes = sizeof(hk_run_area_t) + pages * sizeof(hk_run_t);
    return hk_align_up(bytes, hk_os_page_bytes());
}

static void unregister(const hk_run_area_t *area, size_t bytes)
{
    for (size_t offset = 0; offset < bytes; offset += HK_SUPERSLAB_BYTES) {
        hk_registry_remove(area->base + offset);
    }
}

static bool register_area(hk_run_area_t *area, size_t bytes)
{
    for (size_t offset = 0; offset < bytes; offset += HK_SUPERSLAB_BYTES) {
        if (!hk_registry_insert(area->base + offset, &area->region)) {
            unregister(area, offset);
            return false;
        }
    }
    return true;
}

static void unmap_descriptor(hk_run_area_t *area, size_t pages)
{
    hk_os_unmap(area, hk_run_area_descriptor_bytes(pages));
    hk_limit_uncharge(hk_run_area_descriptor_bytes(pages));
}

hk_run_area_t *hk_run_area_describe(hk_runs_t *part, char *base, size_t bytes)
{
    size_t page_bytes = hk_os_page_bytes();
    size_t pages = bytes / page_bytes;
    /* Zeroed.  The descriptor counts towards the limit whole, though few of its entries are ever
     * touched. */
    hk_run_area_t *area = hk_limit_map(hk_run_area_descriptor_bytes(pages), page_bytes);
    if (area == NULL) {
        return NULL;
    }
    area->region.kind = HK_REGION_RUNS;
    area->part = part;
    area->pages = (uint32_t)pages;
    area->page_shift = (uint32_t)__builtin_ctzl(page_bytes);
    area->base = base;
    return area;
}

static hk_run_area_t *map_area(hk_runs_t *part, size_t bytes)
{
    hk_run_area_t *area = hk_run_area_describe(part, NULL, bytes);
    if (area == NULL) {
        return NULL;
    }
    area->base = hk_os_map(bytes, HK_SUPERSLAB_BYTES);
    if (area->base != NULL && register_area(area, bytes)) {
        if (hk_options.huge < 2) { /* pages go back one by one */
            hk_os_prefer_small(area->base, bytes);
        }
        return area;
    }
    if (area->base != NULL) {
        hk_os_unmap(area->base, bytes);
    }
    unmap_descriptor(area, area->pages);
    return NULL;
}

hk_run_area_t *hk_run_area_map(hk_runs_t *part, size_t bytes)
{
    size_t least = hk_align_up(bytes, HK_SUPERSLAB_BYTES);
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    size_t wanted = hk_policy_area_bytes(part->mapped_bytes);
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    wanted = wanted < least ? least : wanted;
    hk_run_area_t *area;
    while ((area = map_area(part, wanted)) == NULL && wanted > least) {
        wanted = hk_align_up(wanted / 2, HK_SUPERSLAB_BYTES);
        wanted = wanted < least ? least : wanted;
    }
    return area;
}

void hk_run_area_unmap(hk_run_area_t *area)
{
    size_t bytes = (size_t)area->pages << area->page_shift;
    unregister(area, bytes);
    hk_os_unmap(area->base, bytes);
    unmap_descriptor(area, area->pages);
}

void hk_run_area_add_locked(hk_run_area_t *area)
{
    hk_runs_t *part = area->part;
    HK_LIST_PUSH(part->areas, area, next, prev);
    part->area_count++;
    part->mapped_bytes += (size_t)area->pages << area->page_shift;
    part->descriptor_bytes += hk_run_area_descriptor_bytes(area->pages);
    size_t dirty_pages = hk_bitrange_count(area->dirty, 0, area->pages);
    hk_run_area_put_locked(area, 0, area->pages, dirty_pages);
}

void hk_run_area_remove_locked(hk_run_area_t *area)
{
    hk_runs_t *part = area->part;
    hk_assert(2, hk_run_area_pages(area->runs) == area->pages && area->runs->is_free);
    hk_run_area_take_locked(area->runs);
    HK_LIST_REMOVE(part->areas, area, next, prev);
    part->area_count--;
    part->mapped_bytes -= (size_t)area->pages << area->page_shift;
    part->descriptor_bytes -= hk_run_area_descriptor_bytes(area->pages);
}

void hk_run_area_each(void (*visit)(const hk_run_area_t *area, void *context), void *context)
{
    for (hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
        hk_lock_acquire(&part->lock, HK_RANK_RUNS);
        for (const hk_run_area_t *area = part->areas; area != NULL; area = area->next) {
            visit(area, context);
        }
        hk_lock_release(&part->lock, HK_RANK_RUNS);
    }
}

/* ---- Bins ---- */

unsigned hk_run_area_bin(size_t pages)
{
    if (pages <= HK_RUN_EXACT_BINS) {
        return (unsigned)pages - 1;
    }
    unsigned log2 = 63u - (unsigned)__builtin_clzl(pages);
    return HK_RUN_EXACT_BINS + (log2 - 6) * 8 + (unsigned)(pages >> (log2 - 3) & 7);
}

static void link_run(hk_run_t *run)
{
    hk_runs_t *part = run->area->part;
    unsigned bin = hk_run_area_bin(hk_run_area_pages(run));
    HK_LIST_PUSH(part->bins[run->dirty_pages > 0][bin], run, next, prev);
    part->filled[run->dirty_pages > 0][bin / 64] |= 1ull << bin % 64;
}

static void unlink_run(hk_run_t *run)
{
    hk_runs_t *part = run->area->part;
    unsigned bin = hk_run_area_bin(hk_run_area_pages(run));
    HK_LIST_REMOVE(part->bins[run->dirty_pages > 0][bin], run, next, prev);
    if (part->bins[run->dirty_pages > 0][bin] == NULL) {
        part->filled[run->dirty_pages > 0][bin / 64] &= ~(1ull << bin % 64);
    }
}

/* A run in the bin that is large enough; NULL if there is none among its first `most`. */
static hk_run_t *search_bin(const hk_runs_t *part, unsigned dirty, unsigned bin, size_t pages,
                            unsigned most)
{
    hk_run_t *run = part->bins[dirty][bin];
    for (unsigned i = 0; run != NULL && i < most; i++, run = run->next) {
        if (hk_run_area_pages(run) >= pages) {
            return run;
        }
    }
    return NULL;
}

static hk_run_t *search(const hk_runs_t *part, unsigned dirty, size_t pages)
{
    hk_run_t *found = NULL;
    size_t bin = hk_run_area_bin(pages);
    while (found == NULL && bin < HK_RUN_BINS) {
        bin = hk_bitrange_find_set(part->filled[dirty], bin, HK_RUN_BINS - bin);
        if (bin < HK_RUN_BINS) {
            found = search_bin(part, dirty, (unsigned)bin, pages, SEARCH_DEPTH);
            bin++;
        }
    }
    return found;
}

hk_run_t *hk_run_area_find_locked(hk_runs_t *part, size_t pages)
{
    hk_assert(2, hk_lock_is_held(&part->lock));
    hk_run_t *found = search(part, 1, pages);
    found = found != NULL ? found : search(part, 0, pages);
    /* Only in this bin a large enough run may have been missed.  Before the process grows, or the
     * request fails, it is searched to its end. */
    for (unsigned dirty = 2; found == NULL && dirty-- > 0;) {
        found = search_bin(part, dirty, hk_run_area_bin(pages), pages, UINT32_MAX);
    }
    return found;
}

hk_run_t *hk_run_area_find_warm_locked(hk_runs_t *part, size_t pages)
{
    return search(part, 1, pages);
}

hk_run_t *hk_run_area_find_largest_dirty_locked(hk_runs_t *part)
{
    for (unsigned word = HK_RUN_BIN_WORDS; word-- > 0;) {
        if (part->filled[1][word] != 0) {
            unsigned bit = 63u - (unsigned)__builtin_clzll(part->filled[1][word]);
            return part->bins[1][word * 64 + bit];
        }
    }
    return NULL;
}

/* ---- Runs ---- */

static hk_run_t *mark(hk_run_area_t *area, size_t first, size_t pages, bool is_free)
{
    hk_run_t *run = &area->runs[first];
    hk_run_t *last = &area->runs[first + pages - 1];
    run->area = area;
    last->is_free = run->is_free = is_free;
    hk_store_relaxed(&run->pages, (uint32_t)pages); /* relaxed: see the field */
    hk_store_relaxed(&last->pages, (uint32_t)pages);
    return run;
}

static void set_start(hk_run_area_t *area, size_t page, bool is_block)
{
    uint64_t bit = 1ull << page % 64;
    uint64_t bits = hk_load_relaxed(&area->starts[page / 64]); /* relaxed: under the lock */
    hk_store_relaxed(&area->starts[page / 64], is_block ? bits | bit : bits & ~bit);
}

hk_run_t *hk_run_area_mark_used_locked(hk_run_area_t *area, size_t first, size_t pages,
                                       bool is_block)
{
    set_start(area, first, is_block);
    hk_store_relaxed(&area->runs[first].shelf, 0); /* relaxed: see the field */
    return mark(area, first, pages, false);
}

void hk_run_area_take_locked(hk_run_t *run)
{
    unlink_run(run);
    run->area->part->warm_bytes -= (size_t)run->dirty_pages << run->area->page_shift;
}

void hk_run_area_note_warm_locked(hk_runs_t *part)
{
    hk_epoch_note(&part->epoch, part->warm_bytes);
    part->unneeded_bytes = hk_least(part->unneeded_bytes, part->warm_bytes);
}

hk_run_t *hk_run_area_free_at_locked(hk_run_area_t *area, size_t page)
{
    return page < area->pages && area->runs[page].is_free != 0 ? &area->runs[page] : NULL;
}

void hk_run_area_put_rest_locked(hk_run_area_t *area, size_t first, size_t pages,
                                 size_t dirty_pages)
{
    hk_assert(2, hk_lock_is_held(&area->part->lock));
    hk_assert(2, hk_run_area_free_at_locked(area, first + pages) == NULL);
    hk_assert(2, first == 0 || area->runs[first - 1].is_free == 0);
    hk_run_t *run = mark(area, first, pages, true);
    run->dirty_pages = (uint32_t)dirty_pages;
    link_run(run);
    area->part->warm_bytes += dirty_pages << area->page_shift;
}

void hk_run_area_put_locked(hk_run_area_t *area, size_t first, size_t pages, size_t dirty_pages)
{
    hk_assert(2, hk_lock_is_held(&area->part->lock));
    set_start(area, first, false);
    hk_run_t *behind = hk_run_area_free_at_locked(area, first + pages);
    if (behind != NULL) {
        hk_run_area_take_locked(behind);
        pages += hk_run_area_pages(behind);
        dirty_pages += behind->dirty_pages;
    }
    if (first > 0 && area->runs[first - 1].is_free != 0) {
        size_t before = hk_run_area_pages(&area->runs[first - 1]);
        first -= before;
        pages += before;
        hk_run_area_take_locked(&area->runs[first]);
        dirty_pages += area->runs[first].dirty_pages;
    }
    hk_run_area_put_rest_locked(area, first, pages, dirty_pages);
}

void hk_run_area_add_used_locked(hk_runs_t *part, size_t bytes)
{
    size_t used = hk_load_relaxed(&part->used_bytes); /* relaxed: read as a statistic */
    hk_store_relaxed(&part->used_bytes, used + bytes);
}

void hk_run_area_free_locked(hk_run_t *run)
{
    hk_run_area_t *area = run->area;
    size_t pages = hk_run_area_pages(run);
    hk_run_area_add_used_locked(area->part, -(pages << area->page_shift));
    hk_run_area_put_locked(area, hk_run_area_first(run), pages, pages);
}
