/*
 * path_free: what the slow paths of free and those of hardening's free need of each other.
 */
#ifndef HK_PATH_FREE_H
#define HK_PATH_FREE_H

#include "options.h"
#include "path.h"

/* ---- Of any block (path_free.c) ---- */

/* Frees a block of a thread's heap, which it may put into a magazine.  Inside the gate. */
void hk_path_free_cached(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block);

/* Frees what the near table does not know, by the map; cache may be NULL.  The block is in no
 * magazine yet.  Inside the gate. */
void hk_path_free_by_map(hk_cache_t *cache, void *block);

/* Frees anything.  While a fork is under way it is noted instead. */
void hk_path_free_through_gate(void *block);

/* Makes room in the loaded magazine (hk_cache_shift_out); false if not.  Not while blocks are
 * sampled without hardening: they are counted when magazines are loaded, and
 * this keeps one loaded for long. */
static inline bool hk_path_shift_out(hk_cache_t *cache, unsigned class_index)
{
    return (hk_options.guard_sample == 0 || cache->hardened) &&
           hk_cache_shift_out(cache, class_index);
}

/* Frees a block of this thread's heap if the cache alone is enough for it; false, and nothing done,
 * if not. */
HK_INLINE bool hk_path_free_own_within(hk_cache_t *cache, unsigned class_index, void *block)
{
    if (hk_live_is_misaligned(block) || !hk_live_is_set(block) ||
        (hk_cache_is_full(cache, class_index) && !hk_path_shift_out(cache, class_index))) {
        return false;
    }
    (void)hk_live_clear(block);
    hk_cache_push(cache, class_index, block);
    return true;
}

/* ---- Of a hardened block (path_hardened.c) ---- */

/* Frees a block of a hardened heap that was found by the map; cache may be NULL.  Inside the
 * gate. */
void hk_path_free_hardened_in_slab(hk_cache_t *cache, hk_slab_t *slab, void *block);

/* Free any block, for a thread with a hardened heap: at level 1, and at level 2.  folded is
 * hk_registry_fold's. */
void hk_path_free_hardened_quickly(hk_cache_t *cache, void *block, uint64_t folded);
void hk_path_free_hardened_whole(hk_cache_t *cache, void *block, uint64_t folded);

#endif
