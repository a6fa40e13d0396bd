/*
 * policy: how much of everything.  Pure functions: numbers in, numbers out, with no state, no locks
 * and no clock.
 */
#ifndef HK_POLICY_H
#define HK_POLICY_H

#include "magazine.h"
#include "sizeclass.h"

enum {
    HK_MAGAZINE_KINDS = 4,          /* 64, 128, 256 and 512 bytes */
    HK_MAGAZINE_BYTES = 256 * 1024, /* of blocks in one magazine, */
    HK_LOAD_BYTES = 96 * 1024,      /* of which so many come out of slabs at once; and all that one
                                     * has where there are many threads, or a hard limit */
    HK_MAGAZINE_BLOCKS_MIN = 2,
    HK_DEPOT_BLOCK_BYTES = 4096,    /* larger blocks are pages that others could use: no depot */
    HK_OUTGOING_BYTES = 256 * 1024, /* an outgoing magazine with this much is handed over */
    HK_INBOX_MAGAZINES = 64,        /* an inbox with more of them is drained by whoever pushes */
    HK_EPOCH_ACQUIRES = 16,         /* slabs from the pool end an epoch of a heap's depots too, */
    HK_EPOCH_UNITS = 4, /* and so many units more of its heap one of a cache's idle classes */
    HK_PEAK_STEP_BYTES = 256 << 10, /* least growth between two looks at a new peak */
    HK_PEAK_KEPT_BYTES = 32 << 20,  /* given back of kept mappings at one, at most */
    HK_PACE_BYTES_MIN = 64 << 10,   /* given back at one though it was in vain so far */
    HK_HOLE_STEP_SLABS = 12,        /* looked through for holes at once: about 100 us */
    HK_SHED_BLOCK_BYTES = 1024,     /* at a peak, magazines of smaller blocks stay */
    HK_DECAY_STEP_BYTES = 8 << 20,  /* given back by one step, a portion by each call */
    HK_PORTION_BYTES = 512 << 10,   /* given back by one call: some 50 us; or more, */
    HK_PORTION_IDLE_MS = 8,         /* one for each so long that its thread was away, */
    HK_PORTIONS_MAX = 4,            /* up to so many */
    HK_EMPTY_STEP_UNITS = 512,      /* of kept empty slabs, to the pool at once: some 30 us */
    HK_GIVEN_UNITS_MIN = 16,       /* 1 MiB: given to the pool before a heap keeps what it frees; */
    HK_GIVEN_UNITS_MAX = 128,      /* 8 MiB, if it is large */
    HK_HURRY_DECAY_MS = 2000,      /* with a longer epoch no thread is brought to its slow paths */
    HK_LINGER_BYTES = 16 << 20,    /* so much to give back empties a thread's magazines, */
    HK_LINGER_BYTES_MIN = 1 << 20, /* until there is no more than this */
    HK_BUSY_MS = 64,               /* a heap is busy whose thread came by so recently, and */
    HK_BUSY_BYTES = 4 << 20,       /* so much of what is free in it is what its thread works with */
    HK_FREED_SHARE = 4,     /* of what begins a watch: a thread that freed it looks what is free */
    HK_MOVE_UNITS = 4,      /* of growth of its heap, until a thread looks for a parked one */
    HK_END_BYTES = 4 << 20, /* less that is free stays at a thread's end */
    HK_END_BYTES_PER_MS = 128 << 10,   /* so much since the last time may go at a thread's end */
    HK_BESIDE_BYTES_FIRST = 2 << 20,   /* so much may go before large blocks at first, */
    HK_BESIDE_BYTES_PER_MS = 32 << 10, /* so much more with time, */
    HK_BESIDE_BYTES_MAX = 8 << 20,     /* and never more at once, */
    HK_BESIDE_KEPT_MAX = 64 << 20,     /* or of kept mappings, and at first as well; */
    HK_BESIDE_KEPT_MIN = 2 << 20,      /* less of these is not worth the call */
    HK_KEPT_UNITS = 16,                /* 1 MiB of warm units that a pool keeps in any case */
    HK_RUN_AREA_BYTES_MAX = 64 << 20,  /* Areas of runs have room for no more */
    HK_PARTS = 32,                     /* parts of the Shared Pool, and of the areas, at most */
    HK_SHELF_BYTES = 1 << 20,          /* of free runs of pages on a thread's shelf */
    HK_LARGE_AGAIN_MAX = 1 << 30,      /* kept of direct mappings since one was missed, at most */
    HK_LARGE_KEEP_EPOCHS = 4,          /* how long a freed direct mapping is kept */
    HK_APART_SPANS = 8,                /* so many first spans lie between pages without access, */
    HK_APART_BYTES = 16 << 20,         /* as long as they have no more than this together */
    HK_SPARSE_BYTES_MIN = 64 << 20,    /* if less is committed, nobody asks how much is resident */
    HK_CAP_UNITS_MIN = 16,             /* the least soft cap of a class: 1 MiB */
    HK_DENSE_MS = 2000,                /* a superslab that has been full so long is looked at, */
    HK_DENSE_LOOK_MS = 32,             /* one of them in so long */
    HK_DENSE_BLOCK_BYTES = 4096, /* larger blocks may be held without having been written to */
};

/* What each class gets, worked out once. */
typedef struct hk_policy_class {
    /* The most blocks in one magazine.  Large blocks get few, since a magazine of them is memory
     * that nobody else has.  More blocks mean fewer exchanges: random frees and allocations are a
     * random walk, which takes N^2 calls on average to empty N blocks. */
    uint8_t magazine_blocks;
    uint8_t load_blocks;   /* so many come out of slabs; more than these the program has freed */
    uint8_t magazine_kind; /* the smallest kind that holds so many */
    uint8_t cold_uses;     /* slow paths a thread takes before it gets a magazine: 4 to 68 */
} hk_policy_class_t;
extern const hk_policy_class_t hk_policy_class[HK_CLASS_COUNT];

/* Whether so many threads are many: what each has in its magazines adds up, also while it is
 * idle. */
bool hk_policy_is_crowded(size_t threads, unsigned cpu_count);

/* How many heaps threads get for themselves before they share. */
unsigned hk_policy_heaps_max(unsigned cpu_count);

/* How many bytes the next area for runs of pages has, when areas have mapped_bytes; a multiple of 2
 * MiB. */
size_t hk_policy_area_bytes(size_t mapped_bytes);

/* How many bytes of free resident pages one of so many parts of the areas keeps even if no epoch
 * needs them. */
size_t hk_policy_kept_run_bytes(uint32_t parts);

/* How many parts, each with its own lock, the Shared Pool and the areas are divided into at
 * most. */
uint32_t hk_policy_parts(unsigned cpu_count);

/* How many bytes the depots of a heap with slab_bytes in slabs may hold before further blocks are
 * dissolved. */
size_t hk_policy_depot_bytes(size_t slab_bytes);

/* How many units more than it took back a heap with so many in slabs gives the pool before it keeps
 * what it frees. */
static inline size_t hk_policy_given_units(size_t units)
{
    size_t share = hk_least(units / 16, HK_GIVEN_UNITS_MAX);
    return share < HK_GIVEN_UNITS_MIN ? HK_GIVEN_UNITS_MIN : share;
}

/* How many bytes of freed direct mappings may be kept for reuse, when mappings of used_bytes are in
 * use. */
size_t hk_policy_large_kept_bytes(size_t used_bytes);

/* How many more pages a run on a thread's shelf may have than the request that it serves: a
 * sixteenth, and none below 64 KiB. */
static inline size_t hk_policy_shelf_waste_pages(size_t pages)
{
    return pages >> 4;
}

/* How many bytes may be granted to all threads' shelves together, when committed_bytes are
 * committed under a hard limit (0: none).  They are few, because only its thread can empty a
 * shelf. */
size_t hk_policy_shelves_bytes(size_t committed_bytes, size_t hard_limit);

/* How many bytes a block gets that grows to `bytes` and has to move for it: some more, as if there
 * were classes above HK_SMALL_MAX. */
size_t hk_policy_growing_bytes(size_t bytes);

/* How many bytes one call may give back in a step, when its thread, which calls seldom, began the
 * last one so long ago; mode is HAKMEM_HUGE's value.  Of huge pages it is a superslab at least,
 * since to give back a part would make small pages of it. */
size_t hk_policy_portion_bytes(uint64_t mode, uint64_t idle_ms);

/* At a peak of committed_bytes: how many bytes a thread's magazines of blocks of
 * HK_SHED_BLOCK_BYTES and more may hold. */
size_t hk_policy_stock_bytes(size_t committed_bytes);

/* At such a peak: how many bytes may be free and resident. */
size_t hk_policy_warm_bytes(size_t committed_bytes);

/* And how many of these may be empty slabs. */
size_t hk_policy_warm_slab_bytes(size_t committed_bytes);

/* From which size on a block is large for a process that has committed so much; and how much may be
 * free and resident elsewhere when the process gets such a block. */
size_t hk_policy_beside_bytes(size_t committed_bytes);
size_t hk_policy_warm_beside_bytes(size_t committed_bytes);

/* How many bytes all growing blocks together may have behind what their holders may use.  limited:
 * there is a hard limit. */
size_t hk_policy_rest_bytes(size_t committed_bytes, bool limited);

/* When a thread ends: how many of free_bytes may stay free and resident, when committed_bytes are
 * committed, the free ones included.  All of them, unless they are much. */
size_t hk_policy_end_keep_bytes(size_t committed_bytes, size_t free_bytes);

/* Whether so little of what is committed was ever resident that a peak of what is committed is no
 * peak of memory.  resident_peak is 0 if the system does not say. */
bool hk_policy_is_sparse_peak(size_t committed_bytes, size_t resident_peak);

/* How much has to be free in a process that has committed so much before there is a watch. */
size_t hk_policy_watch_bytes(size_t committed_bytes);

/* Which pages the next superslab has, when there are so many superslabs; mode is HAKMEM_HUGE's
 * value. */
typedef enum hk_pages {
    HK_PAGES_SMALL,  /* no huge ones, whatever the system's setting */
    HK_PAGES_SYSTEM, /* as the system's setting has them */
    HK_PAGES_HUGE,
} hk_pages_t;
hk_pages_t hk_policy_pages(uint64_t mode, uint64_t superslabs);

/* Whether dense superslabs are to become huge, when there are so many superslabs, and so many of
 * them have been advised.  Each advised one may differ from its neighbours and so cost the process
 * two of its 65,530 mappings. */
bool hk_policy_wants_dense(uint64_t mode, uint64_t superslabs, uint64_t advised);

/* Whether a full superslab is dense, when its live blocks of at most HK_DENSE_BLOCK_BYTES have so
 * many bytes. */
bool hk_policy_is_dense(size_t live_bytes);

/* Whether a parked heap with slab_bytes in slabs has so much free in them that a thread whose heap
 * grows had better move there. */
bool hk_policy_is_roomy(size_t slab_bytes, size_t free_bytes);

/* How many bytes of slabs could be empty if their free blocks were not spread over all of them; 0
 * unless that is much. */
size_t hk_policy_sparse_bytes(size_t slab_bytes, size_t free_bytes);

/* Whether to look for holes in slabs of slab_bytes, of which free_bytes were free all through an
 * epoch, and are no holes yet. */
bool hk_policy_wants_holes(size_t slab_bytes, size_t free_bytes);

/* And at a peak of committed_bytes, when so many are free in slabs and no holes.  Only if that is
 * more, since the process would soon have them back. */
bool hk_policy_wants_holes_at_peak(size_t committed_bytes, size_t free_bytes);

/* How many empty superslabs the pool keeps mapped, when it has so many superslabs. */
uint32_t hk_policy_empty_superslabs(uint64_t superslabs);

/* How much of a hard limit is kept back until the program releases it. */
size_t hk_policy_reserve_bytes(size_t hard_bytes);

/* Above a soft limit: how much may be committed before memory is reclaimed again, so that each
 * reclaiming is paid for by growth. */
size_t hk_policy_press_above(size_t committed_bytes, size_t soft_bytes);

/* Whether so little is committed that memory is reclaimed at the soft limit itself again. */
bool hk_policy_is_relieved(size_t committed_bytes, size_t soft_bytes);

/* How many units to raise a class's soft cap by, when reclaiming at the cap has left so many in
 * use. None if that brought enough; else in proportion to the cap, so that each time is paid for by
 * growth. */
uint64_t hk_policy_cap_raise(uint64_t cap_units, uint64_t used_units);

/* How many of the units that a class's cap was raised by the class loses, when it uses so many. */
uint64_t hk_policy_cap_lower(uint64_t raised_units, uint64_t used_units);

/* How long the housekeeper sleeps after a round, when it slept period_ms before the round and an
 * epoch takes decay_ms.  changed: memory has come or gone since. */
uint64_t hk_policy_house_ms(uint64_t period_ms, uint64_t decay_ms, unsigned changed);

#endif
