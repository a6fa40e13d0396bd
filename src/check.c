/*
 * check: the whole-heap walk.  It sees everything, and nothing calls it but the program.
 *
 * Each heap, each pool and each part of the runs is walked under its lock.  What lies in threads'
 * caches cannot be seen and counts as handed out.
 */
#include <hakmem/hakmem.h>

#include "bitrange.h"
#include "log.h"
#include "os.h"
#include "path.h"
#include "run.h"

typedef struct walk {
    size_t violations;
} walk_t;

static void expect(walk_t *walk, bool holds, const void *where, const char *what)
{
    if (!holds) {
        hk_line_t line = {0};
        hk_line_text(&line, what);
        hk_line_text(&line, " at ");
        hk_line_address(&line, where);
        hk_log_warning("check:", hk_line_end(&line));
        walk->violations++;
    }
}

static void check_slab(walk_t *walk, const hk_slab_t *slab)
{
    const hk_class_info_t *info = &hk_class_info[slab->class_index];
    unsigned set = 0;
    for (unsigned word = 0; word < (info->block_count + 63u) / 64; word++) {
        expect(walk, word >= slab->first_word || slab->bitmap[word] == 0, slab,
               "a free block below the slab's first word");
        set += (unsigned)__builtin_popcountll(slab->bitmap[word]);
    }
    expect(walk, set == slab->free_blocks, slab, "free blocks differ from the bitmap");
    expect(walk, set <= info->block_count, slab, "more free blocks than blocks");
    expect(walk, slab->holes_at <= set, slab, "holes of blocks that were handed out");
    expect(walk, slab->hole_pages == 0 || (slab->holes_at != 0 && !slab->hole_waits), slab,
           "holes that nobody looked for");
    expect(walk, slab->holes_at != 0 || !slab->hole_waits, slab,
           "a look is due though a block was taken since");
    expect(walk, slab->hole_pages * hk_os_page_bytes() <= (size_t)slab->units << HK_UNIT_SHIFT,
           slab, "more holes than pages");
}

/* What a heap's slabs and depots add up to. */
typedef struct heap_sums {
    size_t hole_pages;
    size_t free_bytes;
    size_t depot_bytes;
    size_t empty_units;
} heap_sums_t;

static void check_lists(walk_t *walk, const hk_heap_t *heap, const hk_heap_class_t *class,
                        unsigned class_index, heap_sums_t *sums)
{
    size_t free_blocks = 0;
    for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS; bucket++) {
        const hk_slab_t *prev = NULL;
        for (const hk_slab_t *slab = class->partial[bucket]; slab != NULL; slab = slab->next) {
            expect(walk, slab->prev == prev, slab, "broken slab list");
            expect(walk, slab->heap == heap, slab, "a slab of another heap");
            expect(walk, slab->class_index == class_index, slab, "a slab of another class");
            expect(walk, slab->bucket == bucket, slab, "a slab in the wrong bucket");
            expect(walk, slab->free_blocks > 0, slab, "a full slab among the partial ones");
            check_slab(walk, slab);
            sums->hole_pages += slab->hole_pages;
            free_blocks += slab->free_blocks;
            prev = slab;
        }
    }
    for (const hk_slab_t *slab = class->empty; slab != NULL; slab = slab->next) {
        expect(walk, slab->free_blocks == hk_class_info[class_index].block_count, slab,
               "an empty slab with blocks handed out");
        check_slab(walk, slab);
        sums->hole_pages += slab->hole_pages;
        sums->empty_units += slab->units;
        free_blocks += slab->free_blocks;
    }
    sums->free_bytes += free_blocks * hk_class_info[class_index].block_bytes;
}

/* Returns whether the magazine's figures can be trusted. */
static bool check_ends(walk_t *walk, const hk_magazine_t *magazine)
{
    bool sound = magazine->kind < HK_MAGAZINE_KINDS && magazine->count <= magazine->capacity &&
                 magazine->capacity <= hk_magazine_capacity(magazine->kind);
    expect(walk, sound, magazine, "a magazine with more blocks or slots than there is room for");
    expect(walk, !sound || magazine->slot[magazine->capacity] == HK_MAGAZINE_END, magazine,
           "a magazine without an end");
    return sound;
}

static void check_magazine(walk_t *walk, const hk_heap_t *heap, const hk_magazine_t *magazine,
                           unsigned class_index)
{
    if (!check_ends(walk, magazine)) {
        return;
    }
    for (unsigned i = 0; i < magazine->count; i++) {
        const hk_slab_t *slab = hk_slab_find(magazine->slot[i]);
        bool found = slab != NULL && slab->class_index < HK_CLASS_COUNT;
        expect(walk, found, magazine->slot[i], "a depot's block outside all slabs");
        if (found) {
            expect(walk, slab->heap == heap, magazine->slot[i], "a depot's block of another heap");
            expect(walk, slab->class_index == class_index, magazine->slot[i],
                   "a depot's block of another class");
            expect(walk, hk_slab_probe(slab, magazine->slot[i]) == HK_PUT_DONE, magazine->slot[i],
                   "a depot's block that is free in its slab, or none");
        }
    }
}

static void check_depot(walk_t *walk, const hk_heap_t *heap, const hk_depot_t *depot,
                        unsigned class_index, heap_sums_t *sums)
{
    unsigned count = 0;
    for (const hk_magazine_t *m = depot->stack; m != NULL; m = m->next) {
        check_magazine(walk, heap, m, class_index);
        sums->depot_bytes += (size_t)m->count * hk_class_info[class_index].block_bytes;
        count++;
    }
    expect(walk, count == depot->count, heap, "a depot's count is wrong");
    expect(walk, depot->low_water <= count, heap, "a depot's low water is above it");
}

static void check_spares(walk_t *walk, const hk_heap_t *heap, unsigned kind)
{
    unsigned count = 0;
    for (const hk_magazine_t *m = heap->spare[kind]; m != NULL; m = m->next) {
        expect(walk, check_ends(walk, m) && m->capacity == hk_magazine_capacity(kind), m,
               "a spare magazine without its whole capacity");
        count++;
    }
    expect(walk, count == heap->spare_count[kind], heap, "a count of spare magazines is wrong");
}

static void check_heap(hk_heap_t *heap, void *context)
{
    walk_t *walk = context;
    heap_sums_t sums = {0};
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        const hk_heap_class_t *class = &heap->classes[class_index];
        check_lists(walk, heap, class, class_index, &sums);
        check_depot(walk, heap, &class->depot, class_index, &sums);
    }
    for (unsigned kind = 0; kind < HK_MAGAZINE_KINDS; kind++) {
        check_spares(walk, heap, kind);
    }
    expect(walk, sums.empty_units == hk_heap_empty_units(heap), heap,
           "the count of empty units is wrong");
    expect(walk, sums.hole_pages * hk_os_page_bytes() == hk_load_relaxed(&heap->hole_bytes), heap,
           "the count of holes is wrong");
    expect(walk, sums.free_bytes == hk_heap_free_bytes(heap), heap,
           "the bytes of free blocks are wrong");
    expect(walk, sums.depot_bytes == hk_heap_depot_bytes(heap), heap,
           "the bytes of the depots are wrong");
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

static void check_superslab(walk_t *walk, const hk_superslab_t *superslab, unsigned list)
{
    expect(walk, (unsigned)__builtin_popcount(superslab->free_units) == list, superslab,
           "a superslab in the wrong list");
    expect(walk, hk_registry_find(superslab->base) == &superslab->region, superslab,
           "a superslab that the registry does not know");
    const hk_run_area_t *area = superslab->area;
    expect(walk, area == NULL || !superslab->walled, superslab, "a lent superslab with walls");
    expect(walk,
           area == NULL || (size_t)(superslab->base - area->base) >> area->page_shift < area->pages,
           superslab, "a lent superslab that is not in its area");
    for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS; unit++) {
        const hk_slab_t *slab = &superslab->slabs[unit];
        bool is_free = (superslab->free_units >> unit & 1) != 0;
        expect(walk, !is_free || slab->units == 0, slab, "a free unit that is a slab");
        expect(walk, unit + slab->units <= HK_SUPERSLAB_UNITS, slab, "a slab beyond its superslab");
    }
}

static void check_pool(hk_pool_t *pool, void *context)
{
    walk_t *walk = context;
    uint64_t superslabs = 0;
    uint64_t used = 0;
    uint32_t warm = 0;
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        for (const hk_superslab_t *s = pool->by_free[list]; s != NULL; s = s->next) {
            check_superslab(walk, s, list);
            expect(walk, s->pool == pool, s, "a superslab of another pool");
            superslabs++;
            used += HK_SLAB_UNITS_MAX - list;
            warm += (uint32_t)__builtin_popcount(s->free_units & s->dirty_units);
        }
    }
    expect(walk, superslabs == pool->superslabs, pool, "the count of superslabs is wrong");
    /* Units that are just being purged are neither free nor in use. */
    expect(walk, used >= pool->used_units, pool, "more units in use than are taken");
    expect(walk, warm == hk_pool_warm_units(pool), pool, "the count of warm units is wrong");
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}

/* What the areas add up to. */
typedef struct run_sums {
    uint32_t areas;
    size_t mapped_bytes;
    size_t warm_bytes;
    size_t used_bytes;
    size_t free_runs;
} run_sums_t;

/* Pages of a run but the first at which a block is said to start. */
static size_t count_inner_starts(const hk_run_area_t *area, size_t first, size_t pages)
{
    size_t starts = 0;
    for (size_t page = first + 1; page < first + pages; page++) {
        starts += hk_run_area_is_block(area, page);
    }
    return starts;
}

static void check_run(walk_t *walk, const hk_run_area_t *area, const hk_run_t *run,
                      run_sums_t *sums)
{
    size_t first = (size_t)(run - area->runs);
    size_t pages = hk_run_area_pages(run);
    size_t dirty = hk_bitrange_count(area->dirty, first, pages);
    bool is_block = hk_run_area_is_block(area, first);
    expect(walk, run->area == area, run, "a run of another area");
    expect(walk, hk_run_area_pages(run + pages - 1) == pages, run, "a run whose ends differ");
    expect(walk, run[pages - 1].is_free == run->is_free, run, "a run half free");
    expect(walk, count_inner_starts(area, first, pages) == 0, run, "a block inside a run");
    if (run->is_free != 0) {
        expect(walk, !is_block, run, "a free run that is a block");
        expect(walk, run->dirty_pages == dirty, run, "dirty pages differ from their bits");
        expect(walk, first == 0 || run[-1].is_free == 0, run, "free runs that were not merged");
        sums->warm_bytes += dirty << area->page_shift;
        sums->free_runs++;
    } else if (is_block) { /* else it is lent, or just being purged */
        expect(walk, dirty == pages, run, "a block with pages that are not counted");
        sums->used_bytes += pages << area->page_shift;
    }
}

/* A slot of an area: lent ones are a used run without a block, and the registry may have a
 * superslab there. */
static void check_slot(walk_t *walk, const hk_run_area_t *area, size_t number)
{
    size_t pages = (size_t)HK_SUPERSLAB_BYTES >> area->page_shift;
    const char *base = area->base + number * HK_SUPERSLAB_BYTES;
    const hk_run_t *run = &area->runs[number * pages];
    hk_region_t *region = hk_registry_find(base);
    bool is_lent = (area->lent >> number & 1) != 0;
    bool is_superslab = region != NULL && region->kind == HK_REGION_SUPERSLAB &&
                        ((hk_superslab_t *)region)->area == area;
    expect(walk, region == &area->region || (is_lent && is_superslab), base,
           "an area that the registry does not know");
    expect(walk,
           !is_lent || (hk_run_area_pages(run) == pages && run->is_free == 0 &&
                        !hk_run_area_is_block(area, number * pages)),
           base, "a lent part of an area that is in use there");
}

static void check_area(walk_t *walk, const hk_run_area_t *area, run_sums_t *sums)
{
    size_t bytes = (size_t)area->pages << area->page_shift;
    size_t page = 0;
    while (page < area->pages) {
        const hk_run_t *run = &area->runs[page];
        size_t pages = hk_run_area_pages(run);
        if (pages == 0 || pages > area->pages - page) {
            expect(walk, false, run, "a run that does not fit its area");
            return;
        }
        check_run(walk, area, run, sums);
        page += pages;
    }
    for (size_t slot = 0; slot < bytes >> HK_SUPERSLAB_SHIFT; slot++) {
        check_slot(walk, area, slot);
    }
    sums->areas++;
    sums->mapped_bytes += bytes;
}

/* The free runs in a bin. */
static size_t check_bin(walk_t *walk, const hk_runs_t *part, unsigned dirty, unsigned bin)
{
    size_t count = 0;
    const hk_run_t *prev = NULL;
    for (const hk_run_t *run = part->bins[dirty][bin]; run != NULL; run = run->next) {
        expect(walk, run->prev == prev, run, "a broken list of free runs");
        expect(walk, run->is_free != 0, run, "a run in a bin that is not free");
        expect(walk, hk_run_area_bin(hk_run_area_pages(run)) == bin, run, "a run in a wrong bin");
        expect(walk, (run->dirty_pages > 0) == (dirty > 0), run, "a dirty run among clean ones");
        prev = run;
        count++;
    }
    bool filled = (part->filled[dirty][bin / 64] >> bin % 64 & 1) != 0;
    expect(walk, filled == (count > 0), &part->bins[dirty][bin], "a bin's bit is wrong");
    return count;
}

static void check_part(walk_t *walk, hk_runs_t *part)
{
    run_sums_t sums = {0};
    size_t in_bins = 0;
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    const hk_run_area_t *prev = NULL;
    for (const hk_run_area_t *area = part->areas; area != NULL; area = area->next) {
        expect(walk, area->prev == prev, area, "a broken list of areas");
        expect(walk, area->part == part, area, "an area of another part");
        check_area(walk, area, &sums);
        prev = area;
    }
    for (unsigned bin = 0; bin < HK_RUN_BINS; bin++) {
        in_bins += check_bin(walk, part, 0, bin) + check_bin(walk, part, 1, bin);
    }
    expect(walk, sums.areas == part->area_count, part, "the count of areas is wrong");
    expect(walk, sums.mapped_bytes == part->mapped_bytes, part, "areas differ in bytes");
    expect(walk, sums.warm_bytes == part->warm_bytes, part, "warm bytes of runs are wrong");
    expect(walk, sums.used_bytes == hk_load_relaxed(&part->used_bytes), part,
           "used bytes of runs are wrong");
    expect(walk, sums.free_runs == in_bins, part, "free runs differ from the bins");
    hk_lock_release(&part->lock, HK_RANK_RUNS);
}

HAK_API size_t hak_check(void)
{
    walk_t walk = {0};
    hk_cache_t *cache;
    if (hk_path_enter(&cache)) {
        hk_heaps_each(check_heap, check_pool, &walk);
        for (hk_runs_t *part = NULL; (part = hk_run_area_next_part(part)) != NULL;) {
            check_part(&walk, part);
        }
        hk_path_leave(cache);
    }
    return walk.violations;
}
