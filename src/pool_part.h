/*
 * pool_part: the Shared Pool, which threads' heaps take their slabs from.
 *
 * It consists of parts, each a pool with superslabs of its own and a lock.  All heaps begin with
 * the first part, so that small ones lie close together.  A heap moves to the part that fewest
 * heaps use, if those are fewer than it would leave behind: when it grows beyond a superslab, since
 * threads that touch fresh pages of one superslab wait for one another in the kernel; and when it
 * finds the part's lock held again and again.  What a heap gives back goes to the part it came
 * from.  What is free and resident in other parts is used before the process grows.
 */
#ifndef HK_POOL_PART_H
#define HK_POOL_PART_H

#include "policy.h"
#include "pool.h"

extern hk_pool_t hk_pool_parts[HK_PARTS];

/* The number of the last part in use; all parts before it are in use too. */
extern _Atomic uint32_t hk_pool_last_part; /* atomic: only rises */

/* The part in use after the given one, or the first one after NULL; NULL after the last. */
static inline hk_pool_t *hk_pool_part_next(const hk_pool_t *part)
{
    /* relaxed: a part that is missed has just come into use */
    size_t next = part != NULL ? (size_t)(part - hk_pool_parts) + 1 : 0;
    return next <= hk_load_relaxed(&hk_pool_last_part) ? &hk_pool_parts[next] : NULL;
}

static inline bool hk_pool_is_part(const hk_pool_t *pool)
{
    return pool >= hk_pool_parts && pool < hk_pool_parts + HK_PARTS;
}

/* Counts a new heap, which uses the first part. */
void hk_pool_part_join(void);

/* The part for a heap that has so far used the given one and had better move. */
hk_pool_t *hk_pool_part_move(hk_pool_t *part);

/* As hk_pool_acquire_warm, for a heap that uses the part; warm units of other parts serve too.
 * NULL also if the class is at its cap.  *strain tells how much the heap has waited for the part
 * (hk_lock_acquire_strained). */
hk_slab_t *hk_pool_part_acquire_warm(hk_pool_t *part, uint32_t *strain, struct hk_heap *heap,
                                     unsigned units, uint8_t class_index);

/* As hk_pool_acquire, once hk_pool_part_acquire_warm has found nothing.  Where there is no memory
 * for a superslab, all units of all parts serve.  NULL also if the class is at its cap. */
hk_slab_t *hk_pool_part_acquire(hk_pool_t *part, struct hk_heap *heap, unsigned units,
                                uint8_t class_index);

/* Takes a slab back into the part that it is from. */
void hk_pool_part_release(hk_slab_t *slab, bool may_have_live_bits);

/* Bytes of empty units that are still committed, in all parts. */
size_t hk_pool_part_warm_bytes(void);

/* As hk_pool_purge, in all parts together.  The part that has most gives first.  Of the empty
 * superslabs to be kept each part keeps its share, rounded up. */
size_t hk_pool_part_purge(size_t keep_bytes, uint32_t keep_superslabs);

/* As hk_pool_maintain, for all parts together. */
size_t hk_pool_part_maintain(uint64_t now_ms, size_t *left);

/* To be called now and then while a heap takes slabs: notes how much is warm in all parts, for
 * their common low water, which would otherwise be seen by steps alone. */
void hk_pool_part_note(void);

/* Adds what a destroyed pool has counted to the figures of the Shared Pool. */
void hk_pool_part_inherit(const hk_pool_t *pool);

/* In a forked child. */
void hk_pool_part_reset_locks(void);

#endif
