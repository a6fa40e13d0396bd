/*
 * cache: L0, one thread's free blocks.
 *
 * A cache belongs to its thread.  Nobody else reads or writes it, with three exceptions: `busy` and
 * the list links; what the watch needs of it (`view`, `quick_malloc`, and `hardened`, which others
 * only read); and the ledger, which reads figures that may be stale.  For each class a cache has a
 * loaded magazine, which the fast paths see through `top`, the newest slot.  It may also have a
 * previous one, so that a program which goes back and forth about a magazine's end does not
 * exchange magazines all the time.
 *
 * Every exceptional state (not started, torn down, hardened) is the empty cache.  Its one magazine
 * has no slots, so it is empty and full at once, and its tag matches no block.  So every call falls
 * through to the slow paths, without a test for these states.  The slow paths know the thread's
 * real cache, if it has one.
 */
#ifndef HK_CACHE_H
#define HK_CACHE_H

#include "decay.h"
#include "gate.h"
#include "harden.h"
#include "heaps.h"
#include "run_shelf.h"

enum {
    HK_OUTGOING_SLOTS = 64,
    HK_CACHE_SPARES = 4, /* emptied magazines that are kept for outgoing blocks */
};

/* Blocks of one other heap. */
typedef struct hk_outgoing {
    hk_magazine_t *magazine; /* with at least one block, if there is an owner */
    int32_t room_bytes;      /* left before it is handed over */
    uint16_t owner;          /* whose the blocks are; 0: there are none */
    uint16_t past;           /* blocks of others for the same place that went past it */
} hk_outgoing_t;

/* Which of a thread's calls come by its slow paths although its magazines could serve them. */
typedef enum hk_trap {
    HK_TRAP_NONE,
    HK_TRAP_MALLOC,
    HK_TRAP_FREE,
} hk_trap_t;

/* The cache as a thread's fast paths see it: the thread's own, or the empty one. */
typedef struct hk_view {
    struct hk_cache *_Atomic by_malloc; /* other threads set it to the empty one */
    struct hk_cache *by_free;           /* owner */
} hk_view_t;

typedef struct hk_cache {
    void **top[HK_CLASS_COUNT];
    uint64_t tag; /* the heap's owner, where the near table has it */
    hk_heap_t *heap;
    hk_magazine_t *loaded[HK_CLASS_COUNT];   /* NULL: none yet */
    hk_magazine_t *previous[HK_CLASS_COUNT]; /* NULL: none yet; its count is valid */
    uint8_t uses[HK_CLASS_COUNT];            /* slow paths so far, up to what makes a difference */
    hk_quarantine_t *quarantine;             /* hardening's; NULL: there is none */
    bool hardened;                           /* whether the heap is */
    bool quick;                /* and at level 1, so that level 1's own fast paths serve, */
    _Atomic bool quick_malloc; /* malloc's too; other threads clear it */
    int64_t sample_left;       /* blocks until the next sampled one; 0: not drawn yet */
    uint32_t linger_uses;      /* slow paths still to be taken by all calls; 0: does not linger */
    uint64_t step_ms;          /* when this thread last began a step of giving back */
    size_t step_bytes;         /* what is left to give in it, */
    size_t portion_bytes;      /* so much by each slow path */
    uint64_t linger_ms;        /* when it last began to linger */
    size_t freed_bytes;        /* on slow paths, since this thread last looked what is free */
    uint64_t looked_ms;        /* when a trapped call last looked at the clock, */
    uint32_t looked_busy;      /* and how many of the next ones may pass, were it in the same */
    uint32_t passes;           /* tick; of which so many are left; none with hardening */
    hk_view_t *own_view;       /* the thread's; NULL: nobody would hear of its end */
    hk_view_t *_Atomic view;   /* the same, once others may touch it; NULL before */
    void *epoch_newest[HK_CLASS_COUNT]; /* the newest block as the last epoch ended */
    uint64_t epoch_ms;                  /* when that was */
    size_t epoch_units;                 /* and how many the heap had then */
    size_t home_units; /* and when this thread last looked for a parked heap, or fewer since */
    hk_outgoing_t outgoing[HK_OUTGOING_SLOTS]; /* by owner */
    hk_magazine_t *spare;                      /* empty ones of the largest kind */
    uint32_t spare_count;
    hk_run_shelf_t shelf;
    struct hk_cache *next; /* lock(caches) */
    struct hk_cache *prev; /* lock(caches) */
    _Atomic uint32_t left; /* atomic: its thread has ended, and whoever clears this ends it */
    hk_busy_t busy;        /* atomic: read by a forking thread */
} hk_cache_t;

extern hk_cache_t hk_cache_empty;
extern hk_cache_t *hk_cache_list;     /* lock(caches) */
extern _Atomic bool hk_cache_crowded; /* atomic: written under lock(caches): see policy.h */

/* Gives the cache, which is empty, a heap.  A handler that jumps out finds the tag of this heap, or
 * one that no block has, but never another heap's. */
static inline void hk_cache_set_heap(hk_cache_t *cache, hk_heap_t *heap)
{
    cache->tag = hk_cache_empty.tag;
    hk_fence_signal();
    cache->heap = heap;
    hk_fence_signal();
    cache->tag = (uint64_t)heap->owner << HK_OWNER_SHIFT;
}

/* Whether the class is cold: hardly used so far, or the thread lingers to give memory back.  Then
 * blocks go one by one between the program and the heap, so that a thread that needed a block once
 * keeps nothing.  Both count this use.  The one without "still" answers at once for a class that
 * has a magazine. */
bool hk_cache_is_still_cold(hk_cache_t *cache, unsigned class_index);
static inline bool hk_cache_is_cold(hk_cache_t *cache, unsigned class_index)
{
    return HK_UNLIKELY(cache->loaded[class_index] == NULL) &&
           hk_cache_is_still_cold(cache, class_index);
}

/* Returns one block of a class that is cold, past the magazines; NULL without memory. */
void *hk_cache_take_cold(hk_cache_t *cache, unsigned class_index);

/* Loads the previous magazine if it has a block; false if not.  Touches nothing but the cache. */
bool hk_cache_swap_in(hk_cache_t *cache, unsigned class_index);

/* Makes room in the loaded magazine, which is full, if the previous one has room and is as large as
 * it gets: the older half of the blocks moves there.  So a program that goes back and forth about a
 * magazine's end does not come this way all the time.  False if not.  Touches nothing but the
 * cache. */
bool hk_cache_shift_out(hk_cache_t *cache, unsigned class_index);

/* Takes in the blocks of this heap that other heaps' threads freed, as far as the loaded magazines
 * have room; the rest goes to the depots.  Returns whether the class has a block loaded now. */
bool hk_cache_take_in(hk_cache_t *cache, unsigned class_index);

/* Whether there is anything to take in. */
static inline bool hk_cache_may_take_in(const hk_cache_t *cache)
{
    return hk_load_relaxed(&cache->heap->inbox) != NULL; /* relaxed: a hint */
}

/* Loads a magazine with at least one block; false without memory.  The loaded one is empty. */
bool hk_cache_reload(hk_cache_t *cache, unsigned class_index);

/* Makes room for one more block; false if there is no memory for a magazine.  The loaded one is
 * full. */
bool hk_cache_make_room(hk_cache_t *cache, unsigned class_index);

/* Frees a block of another heap: it leaves with up to 60 others by one atomic operation. */
void hk_cache_push_outgoing(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block);

/* How many free blocks of a class the loaded and the previous magazine have.  For another thread's
 * cache the figure may be off by a magazine: that thread may be at work, and nothing orders these
 * reads after its writes.  They are safe, because memory that was a magazine stays one of the same
 * size. */
size_t hk_cache_count(const hk_cache_t *cache, unsigned class_index);

/* Hands the outgoing blocks over to their heaps. */
void hk_cache_hand_over(hk_cache_t *cache);

/* Puts the class's blocks back into slabs. */
void hk_cache_dissolve(hk_cache_t *cache, unsigned class_index);

/* What slow paths do now and then beside their work: give memory back.  No lock may be held.  It
 * may empty the cache, so a slow path calls it last.  next: which calls are trapped from now on, if
 * there is a watch. */
void hk_cache_help(hk_cache_t *cache, hk_trap_t next);

/* ---- The watch (cache_watch.c) ----
 *
 * As long as there is much to give back, threads have to come by their slow paths, which they would
 * not if each block that they free is the next one that they allocate.  So then there is a watch:
 * either the mallocs or the frees of each thread are trapped, those that it does not need just now:
 * mallocs after a slow path of free, frees after one of malloc.  A program that only allocates or
 * only frees for a while pays nothing for that. */

/* When somebody last knew of much to give back; 0: there is no watch.  On a cache line of its own,
 * since every slow path reads it. */
typedef struct hk_watch {
    _Alignas(64) _Atomic uint64_t noted_ms;
} hk_watch_t;
extern hk_watch_t hk_cache_watch_state;

static inline bool hk_cache_watch_is_on(void)
{
    return hk_load_relaxed(&hk_cache_watch_state.noted_ms) != 0; /* relaxed: see cache_watch.c */
}

/* So much could go back: begins or prolongs the watch if that is much, unless it has not changed
 * for a while of looking.  is_news: some of it has gone, or come, just now. */
void hk_cache_watch_note(const hk_cache_t *cache, hk_excess_t excess, bool is_news,
                         uint64_t now_ms);

/* Lets others trap the thread's mallocs.  By the thread itself, on a slow path of malloc: what it
 * does when its end has begun, and nobody would hear of that any more, is free. */
void hk_cache_watch_join(hk_cache_t *cache);

/* Sets the thread's trap, or ends the watch if nobody knew of anything for a while. */
void hk_cache_watch(hk_cache_t *cache, hk_trap_t next, uint64_t now_ms);

/* Whether a call that was trapped, and has been served, should help: not if calls come so often
 * that one of many will do. */
bool hk_cache_watch_is_due(hk_cache_t *cache);

/* Whether mallocs are trapped, or frees; for the thread itself, without hardening. */
static inline bool hk_cache_traps_malloc(const hk_cache_t *cache)
{
    const hk_view_t *view = cache->hardened ? NULL : cache->own_view;
    return view != NULL && hk_load_relaxed(&view->by_malloc) != cache; /* relaxed: see hk_view_t */
}

static inline bool hk_cache_traps_free(const hk_cache_t *cache)
{
    const hk_view_t *view = cache->hardened ? NULL : cache->own_view;
    return view != NULL && view->by_free != cache;
}

/* Whether there is a watch, or may be a trap of the last one. */
static inline bool hk_cache_is_watched(const hk_cache_t *cache)
{
    if (hk_cache_watch_is_on()) {
        return true;
    }
    return cache->hardened ? hk_load_relaxed(&cache->quick_malloc) != cache->quick
                           : hk_cache_traps_malloc(cache) || hk_cache_traps_free(cache);
}

/* Notes what was freed on slow paths: now and then somebody looks how much is free. */
static inline void hk_cache_note_freed(hk_cache_t *cache, size_t bytes)
{
    cache->freed_bytes += bytes;
}

/* Empties the cache: puts all blocks back into slabs, those of the quarantine too, gives the
 * shelf's runs back to their areas, and hands the outgoing blocks over. */
void hk_cache_flush(hk_cache_t *cache);

/* Whether the loaded magazine has no room; if there is none, it has neither a block nor room. */
HK_INLINE bool hk_cache_is_full(const hk_cache_t *cache, unsigned class_index)
{
    return cache->top[class_index][1] == HK_MAGAZINE_END;
}

/* How many more blocks the loaded magazine could take. */
static inline size_t hk_cache_room(const hk_cache_t *cache, unsigned class_index)
{
    const hk_magazine_t *loaded = cache->loaded[class_index];
    return loaded == NULL
               ? 0
               : loaded->capacity - hk_magazine_loaded_count(loaded, cache->top[class_index]);
}

/* Take a block out of the loaded magazine, which must have one; and put one in, for which there
 * must be room.  A block that is pushed has its live bit cleared already. */
static inline void *hk_cache_pop(hk_cache_t *cache, unsigned class_index)
{
    void *block = *cache->top[class_index];
    cache->top[class_index]--;
    hk_live_set(block);
    return block;
}

static inline void hk_cache_push(hk_cache_t *cache, unsigned class_index, void *block)
{
    cache->top[class_index][1] = block;
    hk_fence_signal(); /* else a handler that exits finds a stale pointer there */
    cache->top[class_index]++;
}

/* Frees a block of another heap if the outgoing magazine for that heap has room, and still has some
 * afterwards; false if not.  Touches nothing but the cache, so a remote free needs no atomic
 * operation except the one that hands a whole magazine over. */
HK_INLINE bool hk_cache_try_outgoing(hk_cache_t *cache, uint16_t owner, unsigned class_index,
                                     void *block)
{
    hk_outgoing_t *outgoing = &cache->outgoing[owner % HK_OUTGOING_SLOTS];
    int32_t room_bytes = outgoing->room_bytes - (int32_t)hk_class_info[class_index].block_bytes;
    if (outgoing->owner != owner || room_bytes <= 0) {
        return false;
    }
    hk_magazine_t *magazine = outgoing->magazine;
    unsigned count = magazine->count;
    if (count + 1 >= magazine->capacity || !hk_live_is_set(block) ||
        magazine->slot[count - 1] == block) { /* there is always one */
        return false;
    }
    outgoing->room_bytes = room_bytes;
    if (magazine->class_index != class_index) {
        magazine->class_index = HK_MAGAZINE_MIXED;
    }
    magazine->slot[count] = block;
    hk_fence_signal(); /* as in hk_cache_push */
    magazine->count = (uint16_t)(count + 1);
    return true;
}

#endif
