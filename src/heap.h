/*
 * heap: the owner of slabs.  Threads work out of their caches, and come here for a whole magazine
 * at a time.
 *
 * lock(heap) guards everything except the inbox and the fields marked lock(caches): how many
 * threads use the heap, and the list of first-class heaps.  While threads are few, each heap is
 * used by one of them; beyond that several threads share a heap.  A heap that no thread uses is
 * parked: it waits, with what it holds, for the next thread.  Any thread may take the lock, to
 * drain the inbox or to give memory back for the owners.
 */
#ifndef HK_HEAP_H
#define HK_HEAP_H

#include "lock.h"
#include "magazine.h"
#include "policy.h"
#include "pool_part.h"
#include "quarantine.h"

enum {
    HK_SLAB_BUCKETS = 4,       /* partial slabs by fullness, the fullest first */
    HK_HEAPS_MAX = 4096,       /* threads' heaps */
    HK_EMPTY_UNITS_MAX = 1024, /* 64 MiB: what a thread's heap keeps in empty slabs for an epoch */
    HK_EMPTY_UNITS_MIN = 2,    /* what any heap keeps, even one that no thread uses */
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
    uint16_t epoch_class;      /* lock(heap): the class with which the next epoch's end starts */
    _Atomic uint32_t acquires; /* atomic: written under lock(heap): slabs from the pool */
    uint32_t given_units;      /* lock(heap): given to the pool, not taken back; halved by epochs */
    _Atomic uint32_t threads;  /* lock(caches): caches that work out of it */
    _Atomic bool shared; /* atomic: written under lock(caches): has had several threads at once */
    bool hardened;       /* const: its blocks have tails (see harden.h) */
    uint64_t epoch_ms;   /* lock(heap): when the epoch began */
    _Atomic uint64_t seen_ms;    /* atomic: a hint: when one of its threads last began a step */
    _Atomic size_t units;        /* atomic: written under lock(heap): in its slabs */
    _Atomic size_t empty_units;  /* atomic: written under lock(heap): in the kept empty slabs */
    _Atomic size_t free_bytes;   /* atomic: written under lock(heap): in its slabs' free blocks */
    _Atomic size_t depot_bytes;  /* atomic: written under lock(heap): in the blocks of all depots */
    _Atomic size_t hole_bytes;   /* atomic: written under lock(heap): in holes of its slabs */
    size_t free_low_water;       /* lock(heap): the least free_bytes of this epoch */
    uint64_t holes_purged_bytes; /* lock(heap): so far */
    uint16_t hole_lists; /* lock(heap): how many lists of partial slabs the round still has to do */
    uint8_t hole_round;  /* lock(heap): which slabs the round looks at: see heap_hole.c */
    hk_slab_t *hole_next;  /* lock(heap): the next slab of the highest of these; NULL: its first */
    uint64_t own_acquires; /* lock(heap): stage 0.5 */
    _Atomic uint64_t inbox_magazines; /* atomic: received; threads that share may lose some */
    hk_pool_t *pool;        /* lock(heap): its part of the Shared Pool; const if it is its own */
    uint32_t pool_strain;   /* lock(heap): see hk_lock_acquire_strained */
    _Atomic uint32_t frees; /* atomic: a first-class heap's; threads at once may lose some */
    struct hk_large *large; /* lock(heap): a first-class heap's direct mappings */
    struct hk_run *runs;    /* lock(heap): a first-class heap's runs of pages */
    uint64_t random;        /* lock(heap): random numbers, if it is hardened */
    hk_quarantine_t *quarantine; /* lock(heap): a hardened first-class heap's; NULL: none */
    struct hk_heap *next;        /* lock(caches): first-class heaps */
    struct hk_heap *prev;        /* lock(caches) */
    hk_magazine_t *spare[HK_MAGAZINE_KINDS]; /* lock(heap): empty ones */
    uint16_t spare_count[HK_MAGAZINE_KINDS]; /* lock(heap) */
    hk_heap_class_t classes[HK_CLASS_COUNT];
    _Alignas(HK_CACHE_LINE) _Atomic(hk_magazine_t *)
        inbox;                    /* atomic: pushed by anyone, taken whole by one exchange */
    _Atomic uint32_t inbox_count; /* atomic: a hint */
    _Atomic size_t inbox_bytes;   /* atomic: a hint */
} hk_heap_t;

/* Threads' heaps by owner. */
extern _Atomic(hk_heap_t *) hk_heap_table[HK_HEAPS_MAX];

/* Makes a heap with nothing in it.  With a NULL pool it gets one of its own. */
hk_heap_t *hk_heap_new(uint16_t owner, hk_pool_t *pool);

/* Frees a heap with a pool of its own and everything in it. */
void hk_heap_delete(hk_heap_t *heap);

/* Exchanges an empty magazine (or NULL) for one with at least one block of the class.  kind is the
 * size that the caller would like, most the most blocks that it takes in.  NULL if there is no
 * memory; then the empty one stays with the caller. */
hk_magazine_t *hk_heap_load(hk_heap_t *heap, unsigned class_index, hk_magazine_t *empty,
                            unsigned kind, unsigned most);

/* Exchanges a magazine with blocks of the class for an empty one.  Never fails. */
hk_magazine_t *hk_heap_unload(hk_heap_t *heap, unsigned class_index, hk_magazine_t *full,
                              unsigned kind);

/* An empty magazine; NULL if there is no memory. */
hk_magazine_t *hk_heap_take_magazine(hk_heap_t *heap, unsigned kind);

/* Exchanges an empty magazine for an empty one of the kind; returns the same one if it is as large
 * already, or there is no memory. */
hk_magazine_t *hk_heap_exchange_empty(hk_heap_t *heap, hk_magazine_t *empty, unsigned kind);

/* Puts all blocks of the magazine, which must be the heap's, back into slabs, and keeps or frees
 * the magazine. */
void hk_heap_dissolve(hk_heap_t *heap, hk_magazine_t *magazine);

/* Hands a magazine with so many bytes in blocks of this heap over to it, from any thread, by one
 * atomic operation. */
void hk_heap_hand_over(hk_heap_t *heap, hk_magazine_t *magazine, size_t bytes);

/* Takes all magazines of the inbox, the newest first; NULL if there is none.  For the heap's own
 * threads: they unpack the blocks for which they have room, keep some of the emptied magazines, and
 * return all others. */
hk_magazine_t *hk_heap_take_inbox(hk_heap_t *heap);
void hk_heap_return_inbox(hk_heap_t *heap, hk_magazine_t *list);

/* Visits the magazines of the inbox.  They are taken out meanwhile, because the heap's threads take
 * them without the lock. */
void hk_heap_each_incoming_locked(hk_heap_t *heap,
                                  void (*visit)(const hk_magazine_t *magazine, void *context),
                                  void *context);

/* Returns one block, past all magazines of a cache: for first-class heaps, for threads without a
 * cache, and for classes that a thread hardly uses.  A thread heap's block has its live bit set. */
void *hk_heap_take_block(hk_heap_t *heap, unsigned class_index);

/* The same; *was_clear tells whether another thread had freed the block and its live bit was clear
 * already, which is a double free unless the heap is shared. */
void *hk_heap_take_block_settled(hk_heap_t *heap, unsigned class_index, bool *was_clear);
void hk_heap_put_block(hk_heap_t *heap, hk_slab_t *slab, void *block);

/* Puts a block back into whatever slab it lies in, past all magazines. */
void hk_heap_put_any(void *block);

/* Drains the inbox, dissolves about limit blocks of the depots, and gives kept empty slabs to the
 * pool: all of them if the limit is SIZE_MAX, else HK_EMPTY_STEP_UNITS at most. */
void hk_heap_reclaim(hk_heap_t *heap, size_t limit);

/* Ends the epoch if it is over, a step at a time: dissolves what the working set did not need in
 * it; when that is done, drains the inbox and begins the next epoch.  True while more is to be
 * dissolved.  Does nothing if the heap's lock is held. */
bool hk_heap_decay(hk_heap_t *heap, uint64_t now_ms);

/* Gives kept empty slabs of about so many units to the pool, if there are more than
 * HK_EMPTY_UNITS_MIN; returns how many.  Does nothing if the heap's lock is held. */
size_t hk_heap_release_empties(hk_heap_t *heap, size_t units);

/* Does at once what the end of an epoch does; for when memory is short. */
void hk_heap_relieve(hk_heap_t *heap);

/* Ends the process with a message on a block that hk_slab_put refused. */
HK_COLD _Noreturn void hk_heap_reject(hk_put_result_t result, const void *block);

/* What to XOR a folded address (hk_registry_fold) of a block of the heap with, so that the class is
 * left, hardened or not. */
static inline uint64_t hk_heap_near_tag(const hk_heap_t *heap)
{
    return (uint64_t)heap->owner << HK_OWNER_SHIFT |
           (heap->hardened ? (uint64_t)HK_NEAR_HARDENED << HK_UNIT_SHIFT : 0);
}

static inline size_t hk_heap_depot_bytes(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->depot_bytes); /* relaxed: exact under the lock, else a hint */
}

static inline size_t hk_heap_units(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->units); /* relaxed: exact under the lock, else a hint */
}

static inline size_t hk_heap_free_bytes(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->free_bytes); /* relaxed: exact under the lock, else a hint */
}

static inline size_t hk_heap_inbox_bytes(const hk_heap_t *heap)
{
    /* relaxed: hints; the second may have been stored after the inbox was taken */
    return hk_load_relaxed(&heap->inbox) == NULL ? 0 : hk_load_relaxed(&heap->inbox_bytes);
}

static inline size_t hk_heap_empty_units(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->empty_units); /* relaxed: exact under the lock, else a hint */
}

/* How much of the slabs with blocks in use could be empty (hk_policy_sparse_bytes). */
static inline size_t hk_heap_spread_bytes(const hk_heap_t *heap)
{
    size_t empty = hk_heap_empty_units(heap) * HK_UNIT_BYTES;
    return hk_policy_sparse_bytes(hk_above(hk_heap_units(heap) * HK_UNIT_BYTES, empty),
                                  hk_above(hk_heap_free_bytes(heap), empty));
}

/* What may still go back of these if they are sparse: their holes have gone already. */
static inline size_t hk_heap_sparse_bytes(const hk_heap_t *heap)
{
    /* relaxed: a hint */
    return hk_above(hk_heap_spread_bytes(heap), hk_load_relaxed(&heap->hole_bytes));
}

/* In a forked child: opens the lock.  Hand-overs pass the gate, so the inbox is whole. */
void hk_heap_reset(hk_heap_t *heap);

#endif
