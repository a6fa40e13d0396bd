/*
 * run_area: areas, and the free runs in them.
 *
 * An area is some MiB at a multiple of 2 MiB, cut into runs of pages: a mapping, or several side by
 * side that were superslabs before.  Its descriptor lies in a mapping of its own and has an entry
 * for each page.  A run uses the entries of its first and its last page; those between are stale.
 * A free run is merged with its free neighbours, and lies in the bin for its size.
 *
 * Areas are divided into parts, each with its own bins and lock.  A run is only merged within its
 * area, so parts share nothing.  There is one part until threads wait for one another (run_part.h).
 *
 * lock(runs) is the lock of the area's part.  It guards everything except what belongs to the
 * holder of a block.
 */
#ifndef HK_RUN_AREA_H
#define HK_RUN_AREA_H

#include "bitrange.h"
#include "epoch.h"
#include "lock.h"
#include "policy.h"
#include "registry.h"

struct hk_heap;
struct hk_run_area;
struct hk_runs;

enum {
    HK_RUN_BYTES_MAX = 32 << 20,
    HK_RUN_AREA_WORDS = HK_RUN_AREA_BYTES_MAX / 4096 / 64, /* no page is smaller than 4 KiB */
};

typedef struct hk_run {
    struct hk_run
        *next; /* free: lock(runs), in its bin; used: lock(heap), in a first-class heap's list */
    struct hk_run *prev;
    struct hk_run_area *area; /* const while the run is one */
    struct hk_heap *heap;     /* const while used */
    _Atomic uint32_t pages;   /* atomic: used: written by its holder; free: lock(runs) */
    uint32_t dirty_pages;     /* lock(runs): free: those of the pages that may be resident */
    uint32_t is_free;         /* lock(runs) */
    _Atomic uint32_t
        shelf; /* atomic: of a block: the shelf that it lies on, free (see run_shelf.h); 0: none */
} hk_run_t;

typedef struct hk_run_area {
    hk_region_t region;
    struct hk_runs *part;     /* const */
    char *base;               /* const */
    uint32_t pages;           /* const */
    uint32_t page_shift;      /* const */
    uint32_t lent;            /* lock(runs): a bit for each slot that is a superslab now */
    struct hk_run_area *next; /* lock(runs) */
    struct hk_run_area *prev; /* lock(runs) */
    /* Atomic: written under lock(runs): a bit for each page at which a block starts. */
    _Atomic uint64_t starts[HK_RUN_AREA_WORDS];
    uint64_t dirty[HK_RUN_AREA_WORDS]; /* lock(runs): a bit for each page that may be resident */
    hk_run_t runs[];
} hk_run_area_t;

/* Bins: one for each size up to 64 pages, then eight to each doubling. */
enum {
    HK_RUN_EXACT_BINS = 64,
    HK_RUN_BINS = HK_RUN_EXACT_BINS + 9 * 8,
    HK_RUN_BIN_WORDS = (HK_RUN_BINS + 63) / 64,
};

/* One part. */
typedef struct hk_runs {
    _Alignas(HK_CACHE_LINE) hk_lock_t lock;
    hk_run_area_t *areas;                 /* lock(runs) */
    uint32_t area_count;                  /* lock(runs) */
    size_t mapped_bytes;                  /* lock(runs): of all areas */
    size_t descriptor_bytes;              /* lock(runs): of all areas */
    uint64_t filled[2][HK_RUN_BIN_WORDS]; /* lock(runs): a bit for each bin with a run */
    hk_run_t *bins[2][HK_RUN_BINS];       /* lock(runs): [1] the dirty ones */
    size_t warm_bytes;                    /* lock(runs): free and perhaps resident */
    hk_epoch_t epoch;                     /* lock(runs): of warm bytes */
    size_t unneeded_bytes; /* lock(runs): the least that was warm since slabs last asked (lend.h) */
    size_t purged_bytes;   /* lock(runs): so far */
    _Atomic size_t
        used_bytes; /* atomic: written under lock(runs): in blocks, those on shelves too */
} hk_runs_t;

extern hk_runs_t hk_runs[HK_PARTS];

/* The number of the last part in use; all parts before it are in use too. */
extern _Atomic uint32_t hk_run_last_part; /* atomic: only rises */

/* The part in use after the given one, or the first one after NULL; NULL after the last. */
static inline hk_runs_t *hk_run_area_next_part(const hk_runs_t *part)
{
    /* relaxed: a part that is missed has just come into use */
    size_t next = part != NULL ? (size_t)(part - hk_runs) + 1 : 0;
    return next <= hk_load_relaxed(&hk_run_last_part) ? &hk_runs[next] : NULL;
}

/* Maps an area for the part with room for a run of bytes.  It is smaller than usual if there is no
 * memory for more; NULL if there is none for the run. */
hk_run_area_t *hk_run_area_map(hk_runs_t *part, size_t bytes);

/* A descriptor of an area at base, in no part yet and not in the registry, of free pages that are
 * not resident.  NULL if there is no memory. */
hk_run_area_t *hk_run_area_describe(hk_runs_t *part, char *base, size_t bytes);

/* Calls visit for each area, under its lock(runs). */
void hk_run_area_each(void (*visit)(const hk_run_area_t *area, void *context), void *context);

/* The bytes of the descriptor of an area of so many pages. */
size_t hk_run_area_descriptor_bytes(size_t pages);

/* Adds the area to its part, as one free run, of which what is marked is dirty; removes it, when it
 * must be one again. */
void hk_run_area_add_locked(hk_run_area_t *area);
void hk_run_area_remove_locked(hk_run_area_t *area);

void hk_run_area_unmap(hk_run_area_t *area);

/* Makes the pages from first on one used run, with a block at its start if is_block is set. */
hk_run_t *hk_run_area_mark_used_locked(hk_run_area_t *area, size_t first, size_t pages,
                                       bool is_block);

/* Makes the pages from first on a free run, whose neighbours are used: what is left of a run.
 * dirty_pages of them may be resident. */
void hk_run_area_put_rest_locked(hk_run_area_t *area, size_t first, size_t pages,
                                 size_t dirty_pages);

/* Makes the pages from first on free, and merges them with free neighbours; no block starts there
 * any more. */
void hk_run_area_put_locked(hk_run_area_t *area, size_t first, size_t pages, size_t dirty_pages);

/* Counts bytes more in blocks, or fewer, by wrapping. */
void hk_run_area_add_used_locked(hk_runs_t *part, size_t bytes);

/* Makes a block a free run. */
void hk_run_area_free_locked(hk_run_t *run);

/* Takes a free run out of its bin. */
void hk_run_area_take_locked(hk_run_t *run);

/* Lowers the epoch's low water, and what the runs did not need, to what is warm now.  To be called
 * once everything that was taken and is not needed has been put back. */
void hk_run_area_note_warm_locked(hk_runs_t *part);

/* The bin of a free run of so many pages. */
unsigned hk_run_area_bin(size_t pages);

/* The part's smallest dirty free run of at least so many pages, roughly, or else its smallest clean
 * one; NULL if there is none. */
hk_run_t *hk_run_area_find_locked(hk_runs_t *part, size_t pages);

/* The smallest dirty one, roughly, or NULL. */
hk_run_t *hk_run_area_find_warm_locked(hk_runs_t *part, size_t pages);

/* The largest dirty free run, roughly; NULL if there is none. */
hk_run_t *hk_run_area_find_largest_dirty_locked(hk_runs_t *part);

/* The free run that starts at the page, or NULL. */
hk_run_t *hk_run_area_free_at_locked(hk_run_area_t *area, size_t page);

/* Whether a block starts at the page. */
static inline bool hk_run_area_is_block(const hk_run_area_t *area, size_t page)
{
    /* relaxed: who holds the block has seen its bit set */
    return (hk_load_relaxed(&area->starts[page / 64]) >> page % 64 & 1) != 0;
}

/* Whether the slot that the page lies in is lent (lend.h).  Under lock(runs). */
static inline bool hk_run_area_is_lent(const hk_run_area_t *area, size_t page)
{
    return (area->lent >> (page << area->page_shift >> HK_SUPERSLAB_SHIFT) & 1) != 0;
}

/* The same as above, and the block lies on no shelf. */
static inline bool hk_run_area_is_live(const hk_run_area_t *area, size_t page)
{
    /* relaxed: as above */
    return hk_run_area_is_block(area, page) && hk_load_relaxed(&area->runs[page].shelf) == 0;
}

/* How many of the pages are dirty.  They are part of a run of whole pages, dirty_pages of which are
 * dirty.  Under lock(runs). */
static inline size_t hk_run_area_count_dirty(const hk_run_area_t *area, size_t first, size_t pages,
                                             size_t dirty_pages, size_t whole)
{
    return dirty_pages == 0 || pages == 0 ? 0
           : dirty_pages == whole         ? pages
                                          : hk_bitrange_count(area->dirty, first, pages);
}

static inline size_t hk_run_area_first(const hk_run_t *run)
{
    return (size_t)(run - run->area->runs);
}

static inline size_t hk_run_area_pages(const hk_run_t *run)
{
    return hk_load_relaxed(&run->pages); /* relaxed: the caller holds the lock or the block */
}

#endif
