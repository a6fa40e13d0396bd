/*
 * heap: the owner of slabs.  Threads work out of their caches and come here for a whole magazine at
 * a time.
 *
 * lock(heap) guards everything but the inbox, and what says lock(caches): how many threads use it,
 * and the list of first-class heaps.  A heap is used by one thread while threads are few, by
 * several beyond that; one that no thread uses is parked and waits, with what it holds, for the
 * next thread.  The lock may be taken by any thread, to drain the inbox or to give memory back in
 * the owners' place.
 */
#ifndef HK_HEAP_H
#define HK_HEAP_H

#include "lock.h"
#include "magazine.h"
#include "policy.h"
#include "pool.h"
#include "quarantine.h"

enum {
    HK_SLAB_BUCKETS = 4,       /* partial slabs by fullness, the fullest first */
    HK_HEAPS_MAX = 4096,       /* threads' heaps */
    HK_EMPTY_UNITS_MAX = 1024, /* 64 MiB in empty slabs that a thread's heap keeps for an epoch */
    HK_LENT_UNITS = 128,       /* 8 MiB that it has too many go to the pool before it keeps any */
    HK_EMPTY_UNITS_MIN = 2,    /* what any heap keeps, also one that no thread uses */
};

struct hk_large;
struct hk_run;

typedef struct hk_depot {
    hk_magazine_t *stack; /* lock(heap) */
    uint32_t count;       /* lock(heap): magazines */
    uint32_t low_water;   /* lock(heap): the fewest of this epoch: what was not needed */
} hk_depot_t;

typedef struct hk_heap_class {
    hk_slab_t *partial[HK_SLAB_BUCKETS]; /* lock(heap): slabs with some blocks free */
    hk_slab_t *empty;                    /* lock(heap): list of those with all blocks free, kept */
    hk_depot_t depot;
} hk_heap_class_t;

typedef struct hk_heap {
    hk_lock_t lock;
    uint16_t owner;            /* const: in the near table; HK_OWNER_NONE for first-class heaps */
    uint16_t epoch_class;      /* lock(heap): where the next epoch's end starts */
    _Atomic uint32_t acquires; /* atomic: written under lock(heap): slabs from the pool */
    uint32_t lent_units;       /* lock(heap): given to the pool, not taken back; halved by epochs */
    _Atomic uint32_t threads;  /* lock(caches): caches that work out of it */
    bool shared;               /* lock(caches): has had several threads at once */
    bool hardened;             /* const: its blocks have tails (see harden.h) */
    uint64_t epoch_ms;         /* lock(heap): when the epoch began */
    _Atomic size_t units;      /* atomic: written under lock(heap): in its slabs */
    _Atomic size_t empty_units;  /* atomic: written under lock(heap): in the kept empty slabs */
    _Atomic size_t free_bytes;   /* atomic: written under lock(heap): in its slabs' free blocks */
    _Atomic size_t depot_bytes;  /* atomic: written under lock(heap): in the blocks of all depots */
    _Atomic size_t hole_bytes;   /* atomic: written under lock(heap): in holes of its slabs */
    size_t free_low_water;       /* lock(heap): the least free_bytes of this epoch */
    uint64_t holes_purged_bytes; /* lock(heap): so far */
    uint16_t hole_lists;   /* lock(heap): partial slabs' lists that the round has still to do */
    bool hole_all;         /* lock(heap): the round does all lists, not only the emptiest slabs' */
    hk_slab_t *hole_next;  /* lock(heap): in the highest of them, the next slab; NULL: its first */
    uint64_t own_acquires; /* lock(heap): stage 0.5 */
    _Atomic uint64_t inbox_magazines; /* atomic: received; threads that share may lose some */
    hk_pool_t *pool;                  /* const: the shared pool, or its own */
    struct hk_large *large;           /* lock(heap): a first-class heap's direct mappings */
    struct hk_run *runs;              /* lock(heap): a first-class heap's runs of pages */
    uint64_t random;                  /* lock(heap): random numbers, if it is hardened */
    hk_quarantine_t *quarantine;      /* lock(heap): a hardened first-class heap's; NULL: none */
    struct hk_heap *next;             /* lock(caches): first-class heaps */
    struct hk_heap *prev;             /* lock(caches) */
    hk_magazine_t *spare[HK_MAGAZINE_KINDS]; /* lock(heap): empty ones */
    uint16_t spare_count[HK_MAGAZINE_KINDS]; /* lock(heap) */
    hk_heap_class_t classes[HK_CLASS_COUNT];
    _Alignas(HK_CACHE_LINE) _Atomic(hk_magazine_t *)
        inbox;                    /* atomic: pushed by anyone, taken whole by one exchange */
    _Atomic uint32_t inbox_count; /* atomic: a hint */
} hk_heap_t;

/* Threads' heaps by owner. */
extern _Atomic(hk_heap_t *) hk_heap_table[HK_HEAPS_MAX];

/* A heap with nothing in it.  A NULL pool gives it one of its own. */
hk_heap_t *hk_heap_new(uint16_t owner, hk_pool_t *pool);

/* Frees a heap with a pool of its own and everything in it. */
void hk_heap_delete(hk_heap_t *heap);

/* Exchanges an empty magazine (or NULL) for one with at least one block of the class; NULL if there
 * is no memory, and the empty one stays with the caller.  kind is the size the caller would
 * like. */
hk_magazine_t *hk_heap_load(hk_heap_t *heap, unsigned class_index, hk_magazine_t *empty,
                            unsigned kind);

/* Exchanges a magazine with blocks of the class for an empty one.  Never fails. */
hk_magazine_t *hk_heap_unload(hk_heap_t *heap, unsigned class_index, hk_magazine_t *full,
                              unsigned kind);

/* An empty magazine; NULL if there is no memory. */
hk_magazine_t *hk_heap_take_magazine(hk_heap_t *heap, unsigned kind);

/* An empty magazine of the kind for an empty one of another, or the same one. */
hk_magazine_t *hk_heap_exchange_empty(hk_heap_t *heap, hk_magazine_t *empty, unsigned kind);

/* Puts all blocks of the magazine back into slabs, and keeps or frees the magazine.  All must be
 * the heap's. */
void hk_heap_dissolve(hk_heap_t *heap, hk_magazine_t *magazine);

/* Hands a magazine with blocks of this heap over, from any thread: one atomic operation. */
void hk_heap_hand_over(hk_heap_t *heap, hk_magazine_t *magazine);

/* All magazines of the inbox, the newest first; NULL if there is none.  For the heap's own threads,
 * which unpack what they have room for and give them back, emptied or not, all but those that they
 * use again. */
hk_magazine_t *hk_heap_take_inbox(hk_heap_t *heap);
void hk_heap_return_inbox(hk_heap_t *heap, hk_magazine_t *list);

/* Visits the magazines of the inbox, which holds none meanwhile: its threads take them without the
 * lock. */
void hk_heap_each_incoming_locked(hk_heap_t *heap,
                                  void (*visit)(const hk_magazine_t *magazine, void *context),
                                  void *context);

/* One block, past all of a cache's magazines: for first-class heaps, for threads without a cache,
 * and for classes that a thread hardly uses.  The live bit is set. */
void *hk_heap_take_block(hk_heap_t *heap, unsigned class_index);

/* The same; *was_clear tells that another thread had freed the block, and its live bit was clear
 * already. */
void *hk_heap_take_block_settled(hk_heap_t *heap, unsigned class_index, bool *was_clear);
void hk_heap_put_block(hk_heap_t *heap, hk_slab_t *slab, void *block);

/* Puts a block back into whatever slab it lies in: when there is no memory for a magazine. */
void hk_heap_put_any(void *block);

/* Drains the inbox and dissolves the depots, about limit blocks of them.  Slabs that this empties
 * go to the pool. */
void hk_heap_reclaim(hk_heap_t *heap, size_t limit);

/* What an epoch does, if one has passed, a step at a time: dissolves what the working set did not
 * need in it, then drains the inbox and begins the next.  True while more is to be dissolved.
 * Passes by a heap whose lock is held. */
bool hk_heap_decay(hk_heap_t *heap, uint64_t now_ms);

/* Gives the kept empty slabs to the pool, if they are more than HK_EMPTY_UNITS_MIN.  Passes by a
 * heap whose lock is held. */
void hk_heap_release_empties(hk_heap_t *heap);

/* What an epoch does, at once: for memory that is short. */
void hk_heap_relieve(hk_heap_t *heap);

/* Ends the process with a message on a block that hk_slab_put refused. */
HK_COLD _Noreturn void hk_heap_reject(hk_put_result_t result, const void *block);

/* With this folded in, the near table's entry for a block of the heap gives the class, hardened or
 * not. */
static inline uint64_t hk_heap_near_tag(const hk_heap_t *heap)
{
    return (uint64_t)heap->owner << HK_OWNER_SHIFT |
           (heap->hardened ? (uint64_t)HK_NEAR_HARDENED << HK_UNIT_SHIFT : 0);
}

static inline size_t hk_heap_depot_bytes(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->depot_bytes); /* relaxed: exact under the lock, else a hint */
}

/* How often the heap has grown by HK_EPOCH_ACQUIRES slabs of the pool's: each time ends an epoch,
 * as time does, since what can be reclaimed goes before growing. */
static inline uint32_t hk_heap_growths(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->acquires) / HK_EPOCH_ACQUIRES; /* relaxed: a hint */
}

static inline size_t hk_heap_units(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->units); /* relaxed: exact under the lock, else a hint */
}

static inline size_t hk_heap_free_bytes(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->free_bytes); /* relaxed: exact under the lock, else a hint */
}

static inline size_t hk_heap_empty_units(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->empty_units); /* relaxed: exact under the lock, else a hint */
}

/* In a forked child: opens the lock.  Hand-overs pass the gate, so the inbox is whole. */
void hk_heap_reset(hk_heap_t *heap);

#endif
