/*
 * reject: see reject.h.
 *
 * What is read here may be stale, since the block is not the caller's, or damaged, since the
 * program may have written anywhere.  So nothing is taken for an index unless it is one, and no
 * pointer is followed but the map's, which free has followed too.  Descriptors stay mapped, but for
 * those of areas without a block.
 */
#include "reject.h"

#include "large.h"
#include "log.h"
#include "run_area.h"
#include "superslab.h"

typedef struct place {
    const char *kind;
    uintptr_t start;
    size_t bytes; /* 0: nothing is known */
} place_t;

static place_t find_small(const hk_superslab_t *superslab, uintptr_t address)
{
    unsigned unit = address >> HK_UNIT_SHIFT & (HK_SUPERSLAB_UNITS - 1);
    unsigned first = superslab->slab_of[unit];
    if (first > unit) {
        return (place_t){0};
    }
    unsigned units = superslab->slabs[first].units; /* 0: there is no slab */
    unsigned class_index = superslab->slabs[first].class_index;
    if (unit - first >= units || class_index >= HK_CLASS_COUNT) {
        return (place_t){0};
    }
    const hk_class_info_t *info = &hk_class_info[class_index];
    uintptr_t superslab_base = address & ~(uintptr_t)(HK_SUPERSLAB_BYTES - 1);
    uintptr_t base = superslab_base + ((uintptr_t)first << HK_UNIT_SHIFT);
    uint32_t index = hk_class_block_index(class_index, (uint32_t)(address - base));
    if (index >= info->block_count) {
        return (place_t){0};
    }
    uintptr_t start = base + (uintptr_t)index * info->block_bytes;
    return (place_t){"a small block of ", start, info->block_bytes};
}

/* A block that lies on a shelf is one, too; of any other free run nothing is known. */
static place_t find_run(const hk_run_area_t *area, uintptr_t address)
{
    size_t pages = area->pages;
    unsigned shift = area->page_shift;
    uintptr_t base = (uintptr_t)area->base;
    if (shift > HK_SUPERSLAB_SHIFT || pages > (size_t)HK_RUN_AREA_WORDS * 64 ||
        (address - base) >> shift >= pages) {
        return (place_t){0};
    }
    size_t page = (address - base) >> shift;
    while (page > 0 && !hk_run_area_is_block(area, page)) {
        page--;
    }
    if (!hk_run_area_is_block(area, page)) {
        return (place_t){0};
    }
    size_t bytes = hk_run_area_pages(&area->runs[page]) << shift;
    return (place_t){"a run of ", base + ((uintptr_t)page << shift), bytes};
}

static place_t find_large(const hk_large_t *large)
{
    return (place_t){"a direct mapping of ", (uintptr_t)large->address, large->size};
}

static place_t find_place(uintptr_t address)
{
    const hk_region_t *region = hk_registry_find((const void *)address);
    switch (region == NULL ? 0 : (int)region->kind) {
    case HK_REGION_SUPERSLAB: return find_small((const hk_superslab_t *)region, address);
    case HK_REGION_RUNS: return find_run((const hk_run_area_t *)region, address);
    case HK_REGION_LARGE:
    case HK_REGION_RETIRED: return find_large((const hk_large_t *)region);
    default: return (place_t){0};
    }
}

static void describe(hk_line_t *line, uintptr_t address)
{
    place_t place = find_place(address);
    uintptr_t offset = address - place.start;
    if (offset >= place.bytes) { /* in no block that is known */
        return;
    }
    if (offset > 0) {
        hk_line_number(line, offset);
        hk_line_text(line, " bytes into ");
    }
    hk_line_text(line, place.kind);
    hk_line_number(line, place.bytes);
    hk_line_text(line, " bytes, ");
}

void hk_reject_block(const char *what, const void *address, const char *detail)
{
    hk_line_t line = {0};
    hk_line_misuse(&line, what, address, detail);
    hk_line_text(&line, " (");
    describe(&line, (uintptr_t)address);
    hk_log_abort(&line);
}

void hk_reject_overflow(const void *block, size_t size)
{
    hk_line_t detail = {0};
    hk_line_text(&detail, "the block of ");
    hk_line_number(&detail, size);
    hk_line_text(&detail, " bytes was written to behind its end");
    hk_log_fatal("overflow", block, hk_line_end(&detail));
}
