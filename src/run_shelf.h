/*
 * run_shelf: one thread's free runs, for its next requests of about their sizes.
 *
 * A shelf belongs to its thread, as a cache does; it takes no lock and no locked instruction.  To
 * the areas its runs are blocks still: they are charged, start where they did, and are merged with
 * nothing.  Each says which shelf it lies on; whoever finds that it lies on one, or on another than
 * it ought to, has found a double free.
 *
 * A thread gets one after some frees of runs, and loses it with the epoch, or the first time that
 * it comes by then, with what lies on it.  All that are granted are together a small part of what
 * is committed.
 */
#ifndef HK_RUN_SHELF_H
#define HK_RUN_SHELF_H

#include "run_area.h"

enum { HK_RUN_SHELF_SLOTS = 16 };

typedef struct hk_run_shelf {
    uint16_t pages[HK_RUN_SHELF_SLOTS]; /* of the slot's run; 0: there is none */
    hk_run_t *run[HK_RUN_SHELF_SLOTS];
    uint32_t filled; /* a bit for each slot that has a run */
    /* In all slots, about: a jump out of a handler may leave it wrong until the grant ends. */
    uint32_t filled_pages;
    uint32_t granted_pages; /* 0: there is no shelf now */
    uint32_t page_shift;    /* const once granted */
    uint32_t newest;        /* the slot that was filled last */
    uint32_t id;            /* what its runs say; 0: none was ever granted */
    uint32_t uses;          /* frees towards a grant */
    uint32_t puts;          /* runs put on it since the grant */
    uint32_t hits;          /* and taken for a block */
    bool was_useless;       /* the last time: most of what was put on it was not taken */
    uint64_t epoch_ms;      /* when it was granted */
} hk_run_shelf_t;

/* A run of at least bytes, and not much more, which is the caller's block; NULL if there is none,
 * or it is time for a slow path. */
hk_run_t *hk_run_shelf_take(hk_run_shelf_t *shelf, size_t bytes);

/* Frees a block of the caller's that nobody else has freed, as far as it knows; false, and nothing
 * done, if there is no room. */
bool hk_run_shelf_put(hk_run_shelf_t *shelf, hk_run_t *run);

/* After a free that the shelf had no room for: makes room, or brings a grant nearer. */
void hk_run_shelf_note_free(hk_run_shelf_t *shelf, uint64_t now_ms);

/* Frees all of its runs; the process ends if one was freed twice. */
void hk_run_shelf_empty(hk_run_shelf_t *shelf);

/* The same, and takes the grant back. */
void hk_run_shelf_end(hk_run_shelf_t *shelf);

/* In a forked child, where no other shelf but the caller's (or NULL) is left. */
void hk_run_shelf_reset(const hk_run_shelf_t *shelf);

static inline bool hk_run_shelf_is_over(const hk_run_shelf_t *shelf, uint64_t now_ms)
{
    return shelf->granted_pages != 0 && now_ms - shelf->epoch_ms >= HK_DECAY_MS;
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
