/*
 * pool: the slabs that no heap owns.  The Shared Pool, for all threads' heaps, consists of parts
 * (pool_part.h), each of which is a pool; and each first-class heap has a pool of its own, so that
 * destroying it is freeing whole superslabs.
 *
 * lock(pool) guards a pool.  It is never held across a mapping call.  Superslabs are kept in lists
 * by their number of free units, so that the fullest one with room is found first and the others
 * drain.
 */
#ifndef HK_POOL_H
#define HK_POOL_H

#include "epoch.h"
#include "lock.h"
#include "superslab.h"

typedef enum hk_stage {
    HK_STAGE_OWN,    /* 0.5: an empty slab that the heap still has */
    HK_STAGE_WARM,   /* 1: empty units that are still committed */
    HK_STAGE_UNUSED, /* 2: unused units of a superslab that is mapped */
    HK_STAGE_NEW,    /* 3: a new superslab */
    HK_STAGE_COUNT,
} hk_stage_t;

typedef struct hk_pool {
    _Alignas(HK_CACHE_LINE) hk_lock_t lock;
    bool owned;                  /* const: a first-class heap's: it borrows nothing */
    _Atomic uint32_t warm_units; /* atomic: written under lock(pool): free and dirty */
    hk_epoch_t epoch;            /* lock(pool): of warm units */
    uint32_t unneeded_units;     /* lock(pool): the least that was warm since runs last asked */
    uint64_t look_ms;            /* lock(pool): when full superslabs were last looked at */
    hk_superslab_t *look_at;     /* lock(pool): the next one to look at; NULL: the list's first */
    uint64_t used_units;         /* lock(pool): in slabs */
    uint64_t superslabs;         /* lock(pool) */
    uint64_t purged_units;       /* lock(pool): so far */
    uint64_t
        acquires[HK_STAGE_COUNT]; /* lock(pool): by stage; HK_STAGE_OWN only of deleted heaps */
    hk_superslab_t
        *by_free[HK_SLAB_UNITS_MAX + 1]; /* lock(pool): lists by free units; 0 are the full ones */
} hk_pool_t;

/* Acquires a slab of so many units for the heap, by stages 1 to 3; NULL if there is no memory. */
hk_slab_t *hk_pool_acquire(hk_pool_t *pool, struct hk_heap *heap, unsigned units,
                           uint8_t class_index);

/* The same by stage 1 alone: calls no system call, and does not make the process larger. */
hk_slab_t *hk_pool_acquire_warm(hk_pool_t *pool, struct hk_heap *heap, unsigned units,
                                uint8_t class_index);

/* The same by stage 1, and by stage 2 if last is not HK_STAGE_WARM. */
hk_slab_t *hk_pool_take_locked(hk_pool_t *pool, struct hk_heap *heap, unsigned units,
                               uint8_t class_index, hk_stage_t last);

/* Takes a slab back into the pool that it is from.  Makes no system call; hk_pool_maintain does
 * that.  All its live bits are clear then: may_have_live_bits says that some may not be yet. */
void hk_pool_release(hk_slab_t *slab, bool may_have_live_bits);

/* Gives warm units beyond keep_units, and empty superslabs beyond keep_superslabs, back to the
 * system; returns the bytes given back.  No lock may be held. */
size_t hk_pool_purge(hk_pool_t *pool, uint32_t keep_units, uint32_t keep_superslabs);

/* Bytes of empty units that are still committed. */
size_t hk_pool_warm_bytes(const hk_pool_t *pool);

/* Gives back some of what the last epoch did not need: at most about *left bytes, which falls by
 * what goes.  Returns the bytes that may still go back, now or in a later epoch. */
size_t hk_pool_maintain(hk_pool_t *pool, uint64_t now_ms, size_t *left);

/* Runs grow, by a block of bytes.  Takes empty superslabs out of the pool that the slabs did not
 * need and that may become free runs (convert.h): lent ones, if the block fits into one, and then
 * neighbours, in the order of their addresses, if it fits into them together.  At most
 * HK_POOL_UNNEEDED_MAX, and not many more than the block needs.  Returns how many; 0 if another
 * thread holds the lock.  In pool_unneeded.c. */
enum { HK_POOL_UNNEEDED_MAX = 24 };
unsigned hk_pool_take_unneeded(hk_pool_t *pool, size_t bytes, hk_superslab_t **taken);

/* Puts them back. */
void hk_pool_put_back(hk_pool_t *pool, hk_superslab_t *const *superslabs, unsigned count);

/* Finds a superslab that is not huge, has been full for a while and is dense, and pins it for
 * hk_pool_make_huge; NULL if there is none, or it is too soon to look.  In pool_dense.c. */
hk_superslab_t *hk_pool_find_dense_locked(hk_pool_t *pool, uint64_t now_ms);
void hk_pool_make_huge(hk_pool_t *pool, hk_superslab_t *superslab);

/* Whether any first-class heap's pool has warm units. */
bool hk_pool_owned_are_warm(void);

/* Gives all superslabs of a first-class heap's pool back, which no thread uses any more. */
void hk_pool_destroy(hk_pool_t *pool);

/* For the other pool files, in pool_common.c: adds to what is warm (or, by wrapping, subtracts);
 * and the lists. */
void hk_pool_count_warm_locked(hk_pool_t *pool, uint32_t units);
void hk_pool_add_locked(hk_pool_t *pool, hk_superslab_t *superslab);
void hk_pool_remove_locked(hk_pool_t *pool, hk_superslab_t *superslab); /* an empty one */
void hk_pool_set_free_locked(hk_pool_t *pool, hk_superslab_t *superslab, uint32_t free_units);

static inline uint32_t hk_pool_warm_units(const hk_pool_t *pool)
{
    return hk_load_relaxed(&pool->warm_units); /* relaxed: exact under the lock, else a hint */
}

/* A mask of count bits from the first. */
static inline uint32_t hk_pool_mask(unsigned first, unsigned count)
{
    return (uint32_t)(((1ull << count) - 1) << first);
}

#endif
