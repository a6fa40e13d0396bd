/*
 * large: direct mappings, one to a block, for what does not fit a run.
 *
 * A mapping starts at a multiple of 2 MiB, so that nothing else shares its place in the registry.
 * Freed mappings are kept for a while for reuse; lock(large) guards them, and they are not in the
 * registry then.  A descriptor in use may belong to a first-class heap, whose lock(heap) then
 * guards the links.
 */
#ifndef HK_LARGE_H
#define HK_LARGE_H

#include "registry.h"

struct hk_heap;

typedef struct hk_large {
    hk_region_t region;
    bool fresh;    /* const while in use: the pages are as the system zeroed them */
    bool walled;   /* const: retire's, between pages without access */
    bool exact;    /* owner: the size is what was asked for, which hardening knows */
    char *address; /* owner: who holds the block */
    size_t bytes;  /* owner: mapped, a multiple of the page size */
    size_t size;   /* owner: what the holder may use */
    size_t room; /* owner: if walled, bytes and what is without access behind them, to grow into */
    struct hk_heap *heap;       /* const while in use */
    struct hk_large *next;      /* lock(heap) */
    struct hk_large *prev;      /* lock(heap) */
    uint64_t freed_ms;          /* lock(large): while kept */
    struct hk_large *used_next; /* lock(large): while in use */
    struct hk_large *used_prev; /* lock(large) */
} hk_large_t;

/* Returns a block of at least bytes at a multiple of alignment; NULL if there is no memory.  Kept
 * mappings are used up before the process grows: one that is too large is cut, one that is too
 * small is extended, by moving its pages if need be. */
hk_large_t *hk_large_allocate(size_t bytes, size_t alignment);

/* The same for a block that will grow.  A kept mapping that is too large is left uncut if it has at
 * most twice the bytes, so that the block can grow into the rest without a system call. */
hk_large_t *hk_large_allocate_growing(size_t bytes);

/* Frees the block, which the caller has taken out of the map. */
void hk_large_free(hk_large_t *large);

/* What the block's holder may use. */
static inline size_t hk_large_usable_bytes(const hk_large_t *large)
{
    return large->size;
}

/* Resizes the block, and moves it, without a copy, if need be; after false it is as it was. */
bool hk_large_resize(hk_large_t *large, size_t bytes);

/* Gives all kept mappings back; returns their bytes. */
size_t hk_large_drain(void);

/* Gives so many bytes of the oldest kept mapping back, or all that it has, if it was freed at or
 * before the time; returns how many. */
size_t hk_large_cut_kept(uint64_t until_ms, size_t bytes);

/* Call visit, under lock(large), for each mapping in use, which its holder may be resizing; and for
 * each kept one. */
void hk_large_each_used(void (*visit)(const hk_large_t *large, void *context), void *context);
void hk_large_each_kept(void (*visit)(const void *address, size_t bytes, void *context),
                        void *context);

/* The bytes of all direct mappings in use, retire's included: retire enters and leaves its own
 * here. hk_large_add_used takes a difference, which may wrap. */
size_t hk_large_used_bytes(void);
void hk_large_enter_used(hk_large_t *large);
void hk_large_leave_used(hk_large_t *large);
void hk_large_add_used(size_t bytes);
size_t hk_large_kept_bytes(void);

/* The bytes given back to the system so far; retire adds its own. */
size_t hk_large_purged_bytes(void);
void hk_large_add_purged(size_t bytes);

/* In a forked child. */
void hk_large_reset_lock(void);

#endif
