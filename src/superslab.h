/*
 * superslab: 2 MiB at a multiple of 2 MiB, cut into 32 units of 64 KiB, and the slabs made of
 * these.  It is a mapping of its own, or lent by an area (lend.h).
 *
 * The first unit holds the bits of live.h and no blocks.  A slab is one unit or a few and holds
 * blocks of one class.  Slab headers and block bitmaps live in the descriptor, apart from the
 * blocks.  hk_superslab_allocate is the only way in; hk_superslab_free is the way out, unless the
 * pages become free runs (convert.h).  A set bit in a slab's bitmap is a block that lies free in
 * the slab; blocks in magazines count as handed out.
 *
 * A superslab belongs to a pool: lock(pool) guards the unit masks and the list links; a slab's
 * header and bitmap belong to the heap that acquired it: lock(heap).
 */
#ifndef HK_SUPERSLAB_H
#define HK_SUPERSLAB_H

#include "live.h"
#include "registry.h"

enum {
    HK_SUPERSLAB_UNITS = HK_SUPERSLAB_BYTES / HK_UNIT_BYTES,
    HK_SLAB_UNITS_MAX = HK_SUPERSLAB_UNITS - 1, /* all but the first, which holds the live bits */
    HK_BITMAP_WORDS = HK_SLAB_BLOCKS_MAX / 64,
    HK_BITMAP_SHORT_WORDS = 8, /* for blocks of 128 bytes and more: a cache line */
    HK_IDLE_BYTES = HK_UNIT_BYTES - HK_LIVE_BYTES, /* the rest of the first unit: nothing */
};

struct hk_heap;
struct hk_pool;
struct hk_run_area;
struct hk_runs;
struct hk_superslab;

typedef struct hk_slab {
    /* lock(heap): in a list of the heap.  Aligned: a header is one cache line. */
    _Alignas(HK_CACHE_LINE) struct hk_slab *next;
    struct hk_slab *prev;
    struct hk_heap *heap;           /* const while acquired */
    struct hk_superslab *superslab; /* const */
    uint64_t *bitmap;               /* const while acquired; lock(heap): its content */
    uint16_t free_blocks;           /* lock(heap): the set bits */
    uint16_t first_word;            /* lock(heap): no bit is set in the words below */
    uint8_t class_index;            /* const while acquired */
    uint8_t units;                  /* const while acquired; 0 if free */
    uint8_t first_unit;             /* const */
    uint8_t bucket;                 /* lock(heap): which of the heap's lists */
    uint8_t fresh;                  /* const while acquired: zero, as the system gave it */
    uint8_t hardened;               /* const while acquired: its heap is hardened */
    uint8_t unsettled;              /* lock(heap): free blocks may still have their live bits set */
    uint8_t hole_pages;             /* lock(heap): pages that are holes: see heap_hole.h */
    uint16_t holes_at; /* lock(heap): free blocks at the last look for holes; 0: some taken since */
    uint16_t bucket_last; /* lock(heap): the most free blocks its list is for; 0: in no list */
    uint8_t hole_waits;   /* lock(heap): holes_at is of a round that left it to the next one */
} hk_slab_t;

static_assert(sizeof(hk_slab_t) == HK_CACHE_LINE, "one line for a slab header");

typedef struct hk_superslab {
    /* To find a block's slab takes this first line alone.  What changes as other slabs come and go
     * lies apart. */
    hk_region_t region;
    uint8_t slab_of[HK_SUPERSLAB_UNITS]; /* const while acquired: the slab's first unit, by unit */
    char *base;                          /* const */
    struct hk_pool *pool;                /* const */
    struct hk_run_area *area;            /* const: by which it is lent; NULL: its own mapping */
    _Alignas(HK_CACHE_LINE) uint32_t free_units; /* lock(pool): one bit a unit: it is in no slab */
    uint32_t dirty_units; /* lock(pool): a bit for each unit that may be resident */
    uint64_t full_ms;     /* lock(pool): when it was first seen without free units; 0: not yet */
    bool huge;       /* lock(pool): of huge pages, if the system has them, until a part goes back */
    bool idle_dirty; /* lock(pool): the idle part may be resident, and is counted */
    bool advised;    /* lock(pool): was ever asked to be huge */
    bool pinned; /* lock(pool): not to be purged or unmapped: a thread is at it without the lock */
    bool walled; /* const: between pages without access */
    struct hk_superslab *next; /* lock(pool) */
    struct hk_superslab *prev; /* lock(pool) */
    hk_slab_t slabs[HK_SUPERSLAB_UNITS];
    /* By unit, the bitmaps: those of slabs of few blocks lie close together, so that they touch
     * hardly any pages; then those of other slabs. */
    _Alignas(HK_CACHE_LINE) uint64_t short_bitmaps[HK_SUPERSLAB_UNITS][HK_BITMAP_SHORT_WORDS];
    uint64_t bitmaps[HK_SUPERSLAB_UNITS][HK_BITMAP_WORDS];
} hk_superslab_t;

/* Where a superslab's memory may come from. */
typedef enum hk_origin {
    HK_ORIGIN_SYSTEM,
    HK_ORIGIN_ANY, /* free runs, if these can spare some, else the system */
} hk_origin_t;

/* Makes a superslab for the pool and registers it.  A new mapping is made only if the limit allows
 * bytes more.  NULL if there is no memory. */
hk_superslab_t *hk_superslab_allocate(struct hk_pool *pool, size_t bytes, hk_origin_t origin);

/* Unregisters it and gives its memory back to the system.  No block of it may be live.  Returns how
 * many units went back: none, if it was lent and the system does not take them.  Then they are free
 * runs. */
size_t hk_superslab_free(hk_superslab_t *superslab);

/* Ends a lent one, whose pages become a free run; they are not given back to the system. */
void hk_superslab_give_back(hk_superslab_t *superslab);

/* Makes one area of neighbours with mappings of their own, which stand in the order of their
 * addresses.  They have small pages from now on.  False, and nothing done, if there is no memory
 * for its descriptor. */
bool hk_superslab_make_area(hk_superslab_t *const *superslabs, unsigned count,
                            struct hk_runs *part);

/* Gives the units back to the system; false if it does not take them all. */
bool hk_superslab_purge_units(const hk_superslab_t *superslab, uint32_t units);

/* Superslabs now; and how many were ever made of free runs, or became such. */
uint64_t hk_superslab_count(void);
uint64_t hk_superslab_converted_count(void);

/* Asks for huge pages; false, and nothing changed, if the limit or the system refuses.  The
 * superslab must be pinned, or not linked yet.  After true, the caller notes it by
 * hk_superslab_mark_huge, under the pool's lock. */
bool hk_superslab_ask_huge(const hk_superslab_t *superslab);
void hk_superslab_mark_huge(hk_superslab_t *superslab);

/* To be called before a part of a huge superslab is purged: gives it small pages from now on, or
 * the kernel would fill the gap again.  Returns whether its idle part went back too, and is no
 * longer counted. */
bool hk_superslab_make_small(const hk_superslab_t *superslab);

/* How many mapped superslabs were ever asked to be huge; and how often the system refused.  After a
 * refusal nobody asks again, so the latter is 0 or 1, or a few more if threads asked at once. */
uint64_t hk_superslab_advised_count(void);
uint64_t hk_superslab_huge_refusals(void);

static inline char *hk_slab_base(const hk_slab_t *slab)
{
    return slab->superslab->base + ((size_t)slab->first_unit << HK_UNIT_SHIFT);
}

/* Where the bitmap of a slab of the class lies. */
static inline uint64_t *hk_superslab_bitmap(hk_superslab_t *superslab, unsigned first_unit,
                                            unsigned class_index)
{
    bool is_short = hk_class_info[class_index].block_count <= HK_BITMAP_SHORT_WORDS * 64;
    return is_short ? superslab->short_bitmaps[first_unit] : superslab->bitmaps[first_unit];
}

/* The slab that the address lies in. */
static inline hk_slab_t *hk_superslab_slab_at(hk_superslab_t *superslab, const void *address)
{
    size_t unit = (uintptr_t)address >> HK_UNIT_SHIFT & (HK_SUPERSLAB_UNITS - 1);
    return &superslab->slabs[superslab->slab_of[unit]];
}

/* The superslab that the address lies in, or NULL. */
static inline hk_superslab_t *hk_superslab_find(const void *address)
{
    hk_region_t *region = hk_registry_find(address);
    bool is_superslab = region != NULL && region->kind == HK_REGION_SUPERSLAB;
    return is_superslab ? (hk_superslab_t *)region : NULL;
}

/* The slab of a block in a superslab; NULL if the address is in none. */
static inline hk_slab_t *hk_slab_find(const void *address)
{
    hk_superslab_t *superslab = hk_superslab_find(address);
    hk_slab_t *slab = superslab != NULL ? hk_superslab_slab_at(superslab, address) : NULL;
    return slab == NULL || slab->units == 0 ? NULL : slab;
}

/* Makes a slab that was just acquired ready to hand out blocks of its class: all are free.  Enters
 * its units in the near table. */
void hk_slab_start(hk_slab_t *slab, uint16_t owner);

/* The reverse, before the slab goes back to the pool.  All its blocks must be free. */
void hk_slab_stop(hk_slab_t *slab, uint16_t owner);

/* Takes up to count free blocks, the lowest ones, and stores them below end, going down, so that
 * the lowest address comes last; returns how many. */
unsigned hk_slab_take(hk_slab_t *slab, void **end, unsigned count);

/* Takes one free block, of which there must be one: the lowest or, if second is set, the one above
 * it if that is in the same word of the bitmap. */
void *hk_slab_take_either(hk_slab_t *slab, bool second);

/* Takes a random free block, of which there must be one. */
void *hk_slab_take_random(hk_slab_t *slab, uint64_t random);

typedef enum hk_put_result {
    HK_PUT_DONE,
    HK_PUT_INTERIOR, /* no block starts there */
    HK_PUT_DOUBLE,   /* the block is free already */
} hk_put_result_t;

/* The block's index, or UINT32_MAX if no block starts at the address, which is one of the
 * slab's. */
static inline uint32_t hk_slab_index_of(const hk_slab_t *slab, const void *block)
{
    uint32_t offset = (uint32_t)(uintptr_t)block & (HK_SUPERSLAB_BYTES - 1);
    offset -= (uint32_t)slab->first_unit << HK_UNIT_SHIFT;
    return hk_class_start_index(slab->class_index, offset);
}

/* Puts a block back into the slab, which is of the class; false, and nothing done, if the block is
 * free already, or none starts there. */
HK_INLINE bool hk_slab_put_one(hk_slab_t *slab, const hk_class_info_t *info, const void *block)
{
    uint32_t offset = (uint32_t)(uintptr_t)block & (HK_SUPERSLAB_BYTES - 1);
    offset -= (uint32_t)slab->first_unit << HK_UNIT_SHIFT;
    uint64_t index = hk_class_info_start_index(info, offset);
    uint64_t *word = &slab->bitmap[index / 64];
    if (HK_UNLIKELY(index == UINT32_MAX || (*word >> index % 64 & 1) != 0)) {
        return false;
    }
    *word |= 1ull << index % 64;
    slab->first_word = (uint16_t)(index / 64 < slab->first_word ? index / 64 : slab->first_word);
    slab->free_blocks++;
    return true;
}

/* Puts blocks back, from the first one up to one that is in another slab, is free already, or is no
 * block; returns how many were put back.  The caller sees to their live bits. */
unsigned hk_slab_put(hk_slab_t *slab, void *const *blocks, unsigned count);

/* What putting an address of the slab back would result in; nothing is done.  Without lock(heap) it
 * is right for a live block of the caller's, and else a hint. */
hk_put_result_t hk_slab_probe(const hk_slab_t *slab, const void *block);

#endif
