/*
 * report: statistics as a structure, as text and as JSON.  It sees everything.  Layers below use it
 * only by its public names (mallinfo and malloc_stats in override.c).
 */
#include <errno.h>
#include <hakmem/hakmem.h>
#include <string.h>
#include <unistd.h>

#include "cap.h"
#include "guard.h"
#include "large.h"
#include "ledger.h"
#include "log.h"
#include "meta.h"
#include "occupancy.h"
#include "options.h"
#include "path.h"
#include "run.h"
#include "stats.h"

enum {
    CLASS_JSON_BYTES = 152, /* the names of a class's figures, and 15 digits for each */
    PAGE_BYTES = 4096 + HK_CLASS_COUNT * CLASS_JSON_BYTES, /* more than the longest report */
    NUMBER_COLUMNS = 14,
    OPTION_TEXT_MAX = 128, /* of a path, so that the other options fit into the line */
};

/* ---- Collecting ---- */

static void add_heap(hk_heap_t *heap, void *context)
{
    hak_stats_t *stats = context;
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    stats->slab_free_bytes += hk_heap_free_bytes(heap);
    stats->depot_bytes += hk_heap_depot_bytes(heap);
    stats->hole_bytes += hk_load_relaxed(&heap->hole_bytes); /* relaxed: the lock is held */
    stats->purged_bytes += heap->holes_purged_bytes;
    stats->remote_magazines += hk_load_relaxed(&heap->inbox_magazines); /* relaxed: a statistic */
    stats->stage_acquires[HK_STAGE_OWN] += heap->own_acquires;
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

/* The bytes of all blocks of the superslab's slabs. */
static uint64_t slab_bytes(const hk_superslab_t *superslab)
{
    uint64_t bytes = 0;
    for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS; unit++) {
        const hk_slab_t *slab = &superslab->slabs[unit];
        if (slab->units != 0) {
            const hk_class_info_t *info = &hk_class_info[slab->class_index];
            bytes += (uint64_t)info->block_bytes * info->block_count;
        }
    }
    return bytes;
}

static void add_pool(hk_pool_t *pool, void *context)
{
    hak_stats_t *stats = context;
    uint64_t lent = 0; /* mapped as part of an area */
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        for (const hk_superslab_t *s = pool->by_free[list]; s != NULL; s = s->next) {
            lent += s->area != NULL;
            stats->in_use_bytes += slab_bytes(s);
            stats->huge_superslabs += s->huge;
            stats->metadata_bytes += s->idle_dirty ? HK_IDLE_BYTES : 0;
        }
    }
    stats->superslabs += pool->superslabs;
    stats->mapped_bytes += (pool->superslabs - lent) << HK_SUPERSLAB_SHIFT;
    stats->committed_bytes += (pool->used_units + hk_pool_warm_units(pool)) << HK_UNIT_SHIFT;
    stats->pool_warm_bytes += (uint64_t)hk_pool_warm_units(pool) << HK_UNIT_SHIFT;
    stats->purged_bytes += pool->purged_units << HK_UNIT_SHIFT;
    for (unsigned stage = 0; stage < HK_STAGE_COUNT; stage++) {
        stats->stage_acquires[stage] += pool->acquires[stage];
    }
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}

static void collect(hak_stats_t *stats, unsigned want_ledger)
{
    *stats = (hak_stats_t){.struct_bytes = sizeof *stats, .version = (uint32_t)hak_version()};
    hk_cache_t *cache;
    if (!hk_path_enter(&cache)) {
        return; /* a fork is under way: a report is no malloc and may be empty */
    }
    hk_heaps_each(add_heap, add_pool, stats);
    stats->large_bytes = hk_large_used_bytes();
    stats->large_cached_bytes = hk_large_kept_bytes();
    stats->run_bytes = hk_run_used_bytes();
    stats->run_warm_bytes = hk_run_warm_bytes();
    stats->purged_bytes += hk_run_purged_bytes() + hk_large_purged_bytes();
    uint64_t own_bytes = hk_meta_bytes() + hk_run_descriptor_bytes();
    uint64_t live_bits = stats->superslabs * HK_LIVE_BYTES; /* in the superslabs */
    stats->metadata_bytes += own_bytes + live_bits;
    stats->huge_refusals = hk_superslab_huge_refusals();
    stats->converted_superslabs = hk_superslab_converted_count();
    stats->heaps = hk_heaps_count();
    hk_path_leave(cache);
    uint64_t free_bytes = stats->depot_bytes + stats->slab_free_bytes;
    /* The parts were read one after the other: never report a negative rest. */
    stats->in_use_bytes = hk_above(stats->in_use_bytes, free_bytes);
    uint64_t guarded = hk_guard_used_bytes();
    stats->in_use_bytes += stats->large_bytes + stats->run_bytes + guarded;
    uint64_t large = stats->large_bytes + stats->large_cached_bytes;
    /* Address space without access is not counted: it can hold nothing. */
    stats->mapped_bytes += large + hk_run_mapped_bytes() + guarded + own_bytes;
    stats->committed_bytes +=
        large + stats->run_bytes + stats->run_warm_bytes + guarded + stats->metadata_bytes;
    stats->cap_hits = hk_cap_hits();
    if (want_ledger && hk_path_enter(&cache)) {
        hk_ledger_collect(stats);
        hk_path_leave(cache);
    }
}

HAK_API int hak_stats_get(hak_stats_t *stats, size_t stats_bytes)
{
    if (stats == NULL || stats_bytes < 8) {
        return EINVAL;
    }
    hak_stats_t mine;
    collect(&mine, stats_bytes > offsetof(hak_stats_t, live_bytes));
    memset(stats, 0, stats_bytes);
    memcpy(stats, &mine, stats_bytes < sizeof mine ? stats_bytes : sizeof mine);
    return 0;
}

/* ---- Writing ---- */

/* The whole report, for one write: a file that several processes append to then has each report in
 * one piece. */
typedef struct page {
    size_t length;
    hk_occupancy_t occupancy;
    char text[PAGE_BYTES];
} page_t;

static void add_line(page_t *page, hk_line_t *line)
{
    hk_assert(1, line->length <= sizeof page->text - page->length);
    memcpy(page->text + page->length, line->text, line->length);
    page->length += line->length;
    line->length = 0;
}

static void add_right(hk_line_t *line, const char *text)
{
    for (size_t length = strlen(text); length < NUMBER_COLUMNS; length++) {
        hk_line_text(line, " ");
    }
    hk_line_text(line, text);
}

/* A line "<number, right-aligned><unit><text>", of bytes as KiB. */
static void add_row(page_t *page, uint64_t number, bool is_bytes, const char *text)
{
    hk_line_t line = {0};
    hk_line_t digits = {0};
    hk_line_number(&digits, is_bytes ? number / 1024 : number);
    add_right(&line, hk_line_end(&digits));
    hk_line_text(&line, is_bytes ? " KiB  " : "      ");
    hk_line_text(&line, text);
    hk_line_text(&line, "\n");
    add_line(page, &line);
}

/* ---- Options ---- */

#define X(type, field, name, standard, least, most, doc) .field = standard,
static const hk_options_t defaults = {HK_OPTION_TABLE(X)};
#undef X

static void begin_option(hk_line_t *line, const char *name)
{
    hk_line_text(line,
                 line->length == 0 ? "options that are not at their default: HAKMEM_" : " HAKMEM_");
    hk_line_text(line, name);
    hk_line_text(line, "=");
}

static void add_option_number(hk_line_t *line, const char *name, uint64_t value, uint64_t standard)
{
    if (value != standard) {
        begin_option(line, name);
        hk_line_number(line, value);
    }
}

/* With the unit that leaves the shortest whole number. */
static void add_option_amount(hk_line_t *line, const char *name, hk_amount_t value,
                              hk_amount_t standard)
{
    if (value.bytes == standard.bytes && value.percent == standard.percent) {
        return;
    }
    begin_option(line, name);
    if (value.percent != 0) {
        hk_line_number(line, value.percent);
        hk_line_text(line, "%");
        return;
    }
    static const char *const units[] = {"", "K", "M", "G"};
    unsigned unit = 0;
    while (unit < 3 && value.bytes != 0 && value.bytes % 1024 == 0) {
        value.bytes /= 1024;
        unit++;
    }
    hk_line_number(line, value.bytes);
    hk_line_text(line, units[unit]);
}

/* Whatever the text is, the report stays lines of printable characters. */
static void add_option_text(hk_line_t *line, const char *name, const char *value,
                            const char *standard)
{
    if (value == standard) {
        return;
    }
    begin_option(line, name);
    for (unsigned i = 0; value[i] != '\0'; i++) {
        if (i == OPTION_TEXT_MAX) {
            hk_line_text(line, "...");
            return;
        }
        const char shown[] = {value[i] >= ' ' && value[i] <= '~' ? value[i] : '?', '\0'};
        hk_line_text(line, shown);
    }
}

/* One line with the options that are not at their default; none if all are. */
static void add_options(page_t *page)
{
    hk_line_t line = {0};
#define X(type, field, name, standard, least, most, doc)                                           \
    add_option_##type(&line, name, hk_options.field, defaults.field);
    HK_OPTION_TABLE(X)
#undef X
    if (line.length > 0) {
        hk_line_text(&line, "\n");
        add_line(page, &line);
    }
}

/* ---- Size classes ---- */

static void add_class_figure(hk_line_t *line, uint64_t bytes, bool is_large)
{
    hk_line_t figure = {0};
    hk_line_number(&figure, is_large ? bytes / 1024 : bytes);
    hk_line_text(&figure, is_large ? " KiB" : " B");
    add_right(line, hk_line_end(&figure));
}

static void add_class_row(page_t *page, const hk_occupancy_class_t *class)
{
    hk_line_t line = {0};
#define X(field, is_large, heading) add_class_figure(&line, class->field, is_large);
    HK_OCCUPANCY_TABLE(X)
#undef X
    hk_line_text(&line, "  ");
    hk_line_number(&line, class->free_bytes * 100 / class->slab_bytes);
    hk_line_text(&line, " % free, ");
    hk_line_number(&line, (class->slab_bytes - class->free_bytes) / 1024);
    hk_line_text(&line, " KiB live, cached or in depots\n");
    add_line(page, &line);
}

/* The worst classes, if there are any to speak of. */
static void add_worst_classes(page_t *page, uint64_t committed_bytes)
{
    unsigned worst[HK_OCCUPANCY_WORST_MAX];
    hk_occupancy_collect(&page->occupancy);
    unsigned count = hk_occupancy_find_worst(&page->occupancy, committed_bytes, worst);
    if (count == 0) {
        return;
    }
    hk_line_t line = {0};
    hk_line_text(&line, "size classes with most free between live blocks: free, less empty slabs, "
                        "less given back\n");
    add_line(page, &line);
#define X(field, is_large, heading) add_right(&line, heading);
    HK_OCCUPANCY_TABLE(X)
#undef X
    hk_line_text(&line, "\n");
    add_line(page, &line);
    for (unsigned i = 0; i < count; i++) {
        add_class_row(page, &page->occupancy.classes[worst[i]]);
    }
}

static void add_json_class(page_t *page, const hk_occupancy_class_t *class, bool is_first)
{
    hk_line_t line = {0};
    const char *before = is_first ? "{" : ", {";
#define X(field, is_large, heading)                                                                \
    hk_line_text(&line, before);                                                                   \
    hk_line_text(&line, "\"" #field "\": ");                                                       \
    hk_line_number(&line, class->field);                                                           \
    before = ", ";
    HK_OCCUPANCY_TABLE(X)
#undef X
    hk_line_text(&line, "}");
    add_line(page, &line);
}

/* All classes that have slabs. */
static void add_json_classes(page_t *page)
{
    bool is_first = true;
    hk_occupancy_collect(&page->occupancy);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        const hk_occupancy_class_t *class = &page->occupancy.classes[class_index];
        if (class->slab_bytes != 0) {
            add_json_class(page, class, is_first);
            is_first = false;
        }
    }
}

/* ---- The reports ---- */

static void compose_text(page_t *page)
{
    hak_stats_t stats;
    hk_line_t line = {0};
    collect(&stats, 1);
    hk_line_text(&line, "HAKMEM ");
    hk_line_number(&line, HAKMEM_VERSION_MAJOR);
    hk_line_text(&line, ".");
    hk_line_number(&line, HAKMEM_VERSION_MINOR);
    hk_line_text(&line, ".");
    hk_line_number(&line, HAKMEM_VERSION_PATCH);
    hk_line_text(&line, ", process ");
    hk_line_number(&line, (uint64_t)getpid());
    hk_line_text(&line, ": where the bytes are\n");
    add_line(page, &line);
    add_options(page);
#define X(field, is_bytes, doc) add_row(page, stats.field, is_bytes, doc);
    HK_STATS_TABLE(X)
#undef X
    static const char *const stages[HK_STAGE_COUNT] = {
        "slabs acquired in stage 0.5: an empty one of its own",
        "slabs acquired in stage 1: warm",
        "slabs acquired in stage 2: unused units",
        "slabs acquired in stage 3: a new superslab",
    };
    for (unsigned stage = 0; stage < HK_STAGE_COUNT; stage++) {
        add_row(page, stats.stage_acquires[stage], false, stages[stage]);
    }
    hk_line_text(&line, "from blocks to resident memory\n");
    add_line(page, &line);
#define X(field, sign, doc) add_row(page, stats.field, true, #sign " " doc);
    HK_LEDGER_TABLE(X)
#undef X
    add_row(page, stats.resident_bytes, true, "= resident");
    add_worst_classes(page, stats.committed_bytes);
}

static void compose_json(page_t *page)
{
    hak_stats_t stats;
    hk_line_t line = {0};
    collect(&stats, 1);
    hk_line_text(&line, "{\"version\": ");
    hk_line_number(&line, stats.version);
    hk_line_text(&line, ", \"pid\": ");
    hk_line_number(&line, (uint64_t)getpid());
    add_line(page, &line);
#define X(field, is_bytes, doc)                                                                    \
    hk_line_text(&line, ", \"" #field "\": ");                                                     \
    hk_line_number(&line, stats.field);                                                            \
    add_line(page, &line);
    HK_STATS_TABLE(X)
#undef X
    hk_line_text(&line, ", \"stage_acquires\": [");
    for (unsigned stage = 0; stage < HK_STAGE_COUNT; stage++) {
        hk_line_text(&line, stage > 0 ? ", " : "");
        hk_line_number(&line, stats.stage_acquires[stage]);
    }
    hk_line_text(&line, "], \"classes\": [");
    add_line(page, &line);
    add_json_classes(page);
    hk_line_text(&line, "], \"ledger\": {\"resident_bytes\": ");
    hk_line_number(&line, stats.resident_bytes);
#define X(field, sign, doc)                                                                        \
    hk_line_text(&line, ", \"" #field "\": ");                                                     \
    hk_line_number(&line, stats.field);                                                            \
    add_line(page, &line);
    HK_LEDGER_TABLE(X)
#undef X
    hk_line_text(&line, "}}\n");
    add_line(page, &line);
}

static int write_page(page_t *page, void (*compose)(page_t *page), int fd)
{
    page->length = 0;
    compose(page);
    return hk_log_write(fd, page->text, page->length);
}

HK_NOINLINE static int write_from_stack(void (*compose)(page_t *page), int fd)
{
    page_t page;
    return write_page(&page, compose, fd);
}

/* A page is too large for the stack of a small thread.  Nobody waits for the common one, since a
 * write may take for ever: whoever finds it taken, by another thread, by the thread that a signal
 * interrupted or by one that was lost in a fork, has a page on the stack. */
static int write_report(void (*compose)(page_t *page), int fd)
{
    static page_t common;
    static _Atomic bool is_taken; /* atomic: whether a thread is at the common page */
    if (hk_exchange_acq_rel(&is_taken, true)) {
        return write_from_stack(compose, fd);
    }
    int error = write_page(&common, compose, fd);
    hk_store_release(&is_taken, false); /* release: pairs with the exchange */
    return error;
}

HAK_API int hak_stats_print(int fd)
{
    return write_report(compose_text, fd);
}

HAK_API int hak_stats_json(int fd)
{
    return write_report(compose_json, fd);
}
