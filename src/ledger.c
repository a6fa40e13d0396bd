/*
 * ledger: see ledger.h.
 */
#include "ledger.h"

#include "guard.h"
#include "large.h"
#include "meta.h"
#include "os.h"
#include "refuge.h"
#include "run.h"
#include "thread.h"

enum {
    PAGES_MAX = HK_SUPERSLAB_BYTES / 4096, /* no Linux has smaller pages */
};

/* The pages of a range of at most 2 MiB. */
typedef struct residency {
    const char *base;
    size_t page_bytes;
    unsigned char pages[PAGES_MAX]; /* bit 0: resident */
} residency_t;

/* What is summed up on the way and is no line of its own. */
typedef struct walk {
    hak_stats_t *stats;
    uint64_t slab_resident_bytes;  /* of heaps' slabs, without their ends */
    uint64_t empty_resident_bytes; /* of them, of the kept empty ones */
    uint64_t span_resident_bytes;  /* of runs, direct mappings and sampled blocks in use */
} walk_t;

/* ---- Residency ---- */

static void look(residency_t *residency, const void *base, size_t bytes)
{
    residency->base = base;
    residency->page_bytes = hk_os_page_bytes();
    hk_os_residency(base, bytes, residency->pages);
}

/* The resident bytes from start to end, which need not be at page borders. */
static size_t resident_between(const residency_t *residency, size_t start, size_t end)
{
    size_t bytes = 0;
    while (start < end) {
        size_t page = start / residency->page_bytes;
        size_t next = (page + 1) * residency->page_bytes;
        next = hk_least(next, end);
        bytes += (residency->pages[page] & 1) != 0 ? next - start : 0;
        start = next;
    }
    return bytes;
}

/* The resident bytes of any range. */
static size_t resident_in(const void *address, size_t bytes)
{
    residency_t residency;
    size_t page = hk_os_page_bytes();
    size_t start = (uintptr_t)address & (page - 1); /* the range need not begin with a page */
    size_t whole = start + bytes;
    size_t resident = 0;
    for (size_t done = 0; done < whole; done += HK_SUPERSLAB_BYTES) {
        size_t part = whole - done < HK_SUPERSLAB_BYTES ? whole - done : HK_SUPERSLAB_BYTES;
        look(&residency, (const char *)address - start + done, hk_align_up(part, page));
        resident += resident_between(&residency, done == 0 ? start : 0, part);
    }
    return resident;
}

static void add_range(const void *address, size_t bytes, void *context)
{
    uint64_t *line = context;
    *line += resident_in(address, bytes);
}

/* ---- Magazines ---- */

/* The magazines of a cache belong to a thread that may be at work, and nothing orders these reads
 * after its writes.  Memory that was a magazine stays one of the same size.  The blocks in it are
 * not looked up, since they may be free by now and their slabs gone.  So a figure may be off by a
 * magazine, and nothing else can go wrong. */
__attribute__((no_sanitize("thread"))) HK_NOINLINE static size_t
count_outgoing_bytes(const hk_cache_t *cache)
{
    size_t bytes = 0;
    for (unsigned slot = 0; slot < HK_OUTGOING_SLOTS; slot++) {
        const hk_outgoing_t *outgoing = &cache->outgoing[slot];
        bytes += outgoing->owner != 0 ? (size_t)(HK_OUTGOING_BYTES - outgoing->room_bytes) : 0;
    }
    return bytes;
}

/* The shelf's thread may be at work on it: as with magazines, the figure may be off. */
__attribute__((no_sanitize("thread"))) HK_NOINLINE static size_t
shelf_pages(const hk_cache_t *cache)
{
    return hk_run_shelf_pages(&cache->shelf);
}

static void add_cache(const hk_cache_t *cache, void *context)
{
    hak_stats_t *stats = context;
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        stats->cache_bytes +=
            hk_cache_count(cache, class_index) * hk_class_info[class_index].block_bytes;
    }
    stats->cache_bytes += shelf_pages(cache) * hk_os_page_bytes();
    if (cache->quarantine != NULL) {
        stats->cache_bytes += hk_harden_quarantined_bytes(cache->quarantine);
    }
    stats->outgoing_bytes += count_outgoing_bytes(cache);
}

/* ---- Slabs ---- */

/* The resident bytes of a slab's free blocks. */
static size_t free_resident_bytes(const hk_slab_t *slab)
{
    residency_t residency;
    size_t bytes = 0;
    size_t size = hk_class_info[slab->class_index].block_bytes;
    look(&residency, hk_slab_base(slab), (size_t)slab->units << HK_UNIT_SHIFT);
    for (unsigned i = 0; i < hk_class_info[slab->class_index].block_count; i++) {
        if ((slab->bitmap[i / 64] >> i % 64 & 1) != 0) {
            bytes += resident_between(&residency, i * size, (i + 1) * size);
        }
    }
    return bytes;
}

static uint64_t block_bytes(const void *block)
{
    const hk_slab_t *slab = hk_slab_find(block);
    return slab != NULL && slab->class_index < HK_CLASS_COUNT
               ? hk_class_info[slab->class_index].block_bytes
               : 0;
}

static void add_incoming(const hk_magazine_t *magazine, void *context)
{
    hak_stats_t *stats = context;
    for (unsigned i = 0; i < magazine->count; i++) {
        stats->inbox_bytes += block_bytes(magazine->slot[i]);
    }
}

/* Makes a system call for each slab under the heap's lock, because only under it is it known which
 * of the slab's blocks are free. */
static void add_heap(hk_heap_t *heap, void *context)
{
    walk_t *walk = context;
    hak_stats_t *stats = walk->stats;
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        const hk_heap_class_t *class = &heap->classes[class_index];
        for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS; bucket++) {
            for (const hk_slab_t *slab = class->partial[bucket]; slab != NULL; slab = slab->next) {
                stats->slab_free_resident_bytes += free_resident_bytes(slab);
            }
        }
        for (const hk_slab_t *slab = class->empty; slab != NULL; slab = slab->next) {
            walk->empty_resident_bytes += free_resident_bytes(slab);
        }
    }
    if (heap->quarantine != NULL) {
        stats->cache_bytes += hk_harden_quarantined_bytes(heap->quarantine);
    }
    hk_heap_each_incoming_locked(heap, add_incoming, stats);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

/* Adds each unit of a superslab to its line of the ledger. */
static void add_superslab(walk_t *walk, const hk_superslab_t *superslab)
{
    residency_t residency;
    hak_stats_t *stats = walk->stats;
    look(&residency, superslab->base, HK_SUPERSLAB_BYTES);
    for (size_t unit = 0, next; unit < HK_SUPERSLAB_UNITS; unit = next) {
        const hk_slab_t *slab = &superslab->slabs[unit];
        bool is_free = (superslab->free_units >> unit & 1) != 0;
        next = unit + (is_free || slab->units == 0 ? 1u : slab->units);
        size_t start = unit << HK_UNIT_SHIFT, end = next << HK_UNIT_SHIFT;
        size_t resident = resident_between(&residency, start, end);
        if (is_free) {
            bool warm = (superslab->dirty_units >> unit & 1) != 0;
            *(warm ? &stats->pool_warm_resident_bytes : &stats->excess_bytes) += resident;
        } else if (slab->units == 0) { /* neither free nor a slab's: the allocator's */
            size_t idle = unit == 0 ? resident_between(&residency, HK_LIVE_BYTES, end) : 0;
            stats->metadata_resident_bytes += resident - idle;
            stats->excess_bytes += idle;
        } else {
            const hk_class_info_t *info = &hk_class_info[slab->class_index];
            size_t blocks_end = start + (size_t)info->block_bytes * info->block_count;
            size_t rest = resident_between(&residency, blocks_end, end);
            stats->slab_rest_bytes += rest;
            walk->slab_resident_bytes += resident - rest;
        }
    }
}

/* Makes a system call for each superslab under the pool's lock: without the lock the superslab
 * might go. */
static void add_pool(hk_pool_t *pool, void *context)
{
    walk_t *walk = context;
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        for (const hk_superslab_t *s = pool->by_free[list]; s != NULL; s = s->next) {
            add_superslab(walk, s);
        }
    }
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}

/* ---- Runs and direct mappings ---- */

/* Makes a system call for each 2 MiB under the part's lock: without it runs might be cut, merged
 * and unmapped. */
static void add_area(const hk_run_area_t *area, void *context)
{
    walk_t *walk = context;
    hak_stats_t *stats = walk->stats;
    stats->metadata_resident_bytes += resident_in(area, hk_run_area_descriptor_bytes(area->pages));
    for (size_t page = 0; page < area->pages;) {
        const hk_run_t *run = &area->runs[page];
        size_t pages = hk_run_area_pages(run);
        size_t bytes = pages << area->page_shift;
        size_t resident = resident_in(area->base + (page << area->page_shift), bytes);
        bool is_block = hk_run_area_is_block(area, page);
        bool is_lent = hk_run_area_is_lent(area, page); /* it is among the pools' superslabs */
        if (is_block) {
            walk->span_resident_bytes += resident;
        } else if (!is_lent) { /* what is not dirty can be resident only by huge pages */
            size_t dirty = (size_t)run->dirty_pages << area->page_shift;
            size_t warm = run->is_free == 0 ? resident : hk_least(resident, dirty);
            stats->run_warm_resident_bytes += warm;
            stats->excess_bytes += resident - warm;
        }
        page += pages;
    }
}

/* The holder of the block may be moving its mapping.  As with magazines, what is read may be stale,
 * but that is all: where nothing is mapped any more, nothing is resident.  Not inlined, or it would
 * be sanitized. */
__attribute__((no_sanitize("thread"))) HK_NOINLINE static void
copy_place(const hk_large_t *large, const char **address, size_t *bytes)
{
    *address = large->address;
    *bytes = large->bytes;
}

static void add_large(const hk_large_t *large, void *context)
{
    walk_t *walk = context;
    const char *address;
    size_t bytes;
    copy_place(large, &address, &bytes);
    walk->span_resident_bytes += resident_in(address, bytes);
}

/* ---- The whole ---- */

void hk_ledger_collect(hak_stats_t *stats)
{
    walk_t walk = {.stats = stats};
    hk_heaps_each(add_heap, add_pool, &walk);
    hk_run_area_each(add_area, &walk);
    hk_large_each_used(add_large, &walk);
    hk_guard_each_range(add_range, &walk.span_resident_bytes);
    hk_thread_each_cache(add_cache, stats);
    hk_large_each_kept(add_range, &stats->large_cached_resident_bytes);
    hk_meta_each_chunk(add_range, &stats->metadata_resident_bytes);
    hk_registry_each_leaf(add_range, &stats->metadata_resident_bytes);
    hk_registry_each_table(add_range, &stats->library_bytes);
    stats->refuge_bytes = hk_refuge_bytes();

    /* Never negative: the parts were read one after the other. */
    walk.slab_resident_bytes = hk_above(walk.slab_resident_bytes, walk.empty_resident_bytes);
    stats->pool_warm_resident_bytes += walk.empty_resident_bytes;
    uint64_t in_magazines = stats->cache_bytes + stats->outgoing_bytes + stats->inbox_bytes;
    uint64_t handed_out = stats->in_use_bytes + stats->depot_bytes;
    uint64_t handed_out_resident =
        hk_above(walk.slab_resident_bytes, stats->slab_free_resident_bytes) +
        walk.span_resident_bytes;
    stats->live_bytes = hk_above(stats->in_use_bytes, in_magazines);
    stats->untouched_bytes = hk_above(handed_out, handed_out_resident);
    stats->resident_bytes =
        hk_above(handed_out, stats->untouched_bytes) + stats->slab_free_resident_bytes +
        stats->slab_rest_bytes + stats->pool_warm_resident_bytes + stats->run_warm_resident_bytes +
        stats->excess_bytes + stats->large_cached_resident_bytes + stats->metadata_resident_bytes +
        stats->library_bytes + stats->refuge_bytes;
}
