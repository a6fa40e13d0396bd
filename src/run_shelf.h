/*
 * run_shelf: one thread's own free runs, for its next requests of about the same sizes.
 *
 * A shelf belongs to its thread, as a cache does, and takes no lock and no locked instruction.  To
 * the areas its runs are still blocks: they are charged, their start bits are set, and they are
 * merged with nothing.  Each run says which shelf it lies on.  So a free that finds the run on a
 * shelf, or a shelf whose run names another one, has found a double free.
 *
 * A thread is granted a shelf after some frees of runs.  It loses the shelf, with what lies on it,
 * when it first comes by after the epoch is over.  All shelves together are a small part of what is
 * committed.
 */
#ifndef HK_RUN_SHELF_H
#define HK_RUN_SHELF_H

#include "options.h"
#include "run_area.h"

enum { HK_RUN_SHELF_SLOTS = 16 };

typedef struct hk_run_shelf {
    uint16_t pages[HK_RUN_SHELF_SLOTS]; /* of the slot's run; 0: there is none */
    hk_run_t *run[HK_RUN_SHELF_SLOTS];
    uint32_t filled; /* a bit for each slot that has a run */
    /* In all slots, roughly: a jump out of a handler may leave it wrong until the grant ends. */
    uint32_t filled_pages;
    uint32_t granted_pages; /* 0: there is no shelf now */
    uint32_t page_shift;    /* const once granted */
    uint32_t newest;        /* the slot that was filled last */
    uint32_t id;            /* what its runs say; 0: none was ever granted */
    uint32_t uses;          /* frees towards a grant */
    uint32_t puts;          /* runs put on it since the grant */
    uint32_t hits;          /* and taken for a block */
    bool was_useless;       /* during the last grant most of what was put on it was not taken */
    uint64_t epoch_ms;      /* when it was granted */
} hk_run_shelf_t;

/* Takes a run of at least bytes, and not much more, as the caller's block; NULL if there is none,
 * or if it is time for a slow path. */
hk_run_t *hk_run_shelf_take(hk_run_shelf_t *shelf, size_t bytes);

/* Frees a block onto the shelf; as far as the caller knows, nobody has freed it.  False, and
 * nothing done, if there is no room. */
bool hk_run_shelf_put(hk_run_shelf_t *shelf, hk_run_t *run);

/* To be called after a free for which the shelf had no room, or there was none: makes room, or
 * brings a grant nearer. */
void hk_run_shelf_note_free(hk_run_shelf_t *shelf);

/* Frees all of its runs; the process ends if one was freed twice. */
void hk_run_shelf_empty(hk_run_shelf_t *shelf);

/* The same, and takes the grant back. */
void hk_run_shelf_end(hk_run_shelf_t *shelf);

/* In a forked child, where only the caller's shelf is left, or none (NULL). */
void hk_run_shelf_reset(const hk_run_shelf_t *shelf);

static inline bool hk_run_shelf_is_over(const hk_run_shelf_t *shelf, uint64_t now_ms)
{
    return shelf->granted_pages != 0 && now_ms - shelf->epoch_ms >= hk_options.decay;
}

static inline bool hk_run_shelf_is_empty(const hk_run_shelf_t *shelf)
{
    return shelf->filled == 0;
}

HK_INLINE size_t hk_run_shelf_pages(const hk_run_shelf_t *shelf)
{
    size_t pages = 0;
    for (unsigned slot = 0; slot < HK_RUN_SHELF_SLOTS; slot++) {
        pages += shelf->pages[slot];
    }
    return pages;
}

#endif
