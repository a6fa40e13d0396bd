/*
 * path, freeing with hardening: into the quarantine, and what leaves it for it.  See path_free.h.
 */
#include "path_free.h"

#include "refuge.h"

/* ---- Inside the gate ---- */

/* Puts a block that was marked free into the quarantine, and frees those that leave it. */
static void quarantine_inside(hk_cache_t *cache, hk_quarantined_t freed)
{
    hk_quarantined_t evicted;
    bool over = hk_quarantine_exchange(cache->quarantine, freed, &evicted);
    while (over) {
        if (hk_canary.extent == HK_CANARY_WHOLE) {
            hk_harden_inspect_free(evicted);
        }
        hk_path_free_cached(cache, evicted.owner, evicted.class_index, evicted.block);
        over = hk_quarantine_is_over(cache->quarantine);
        if (over) {
            evicted = hk_quarantine_take(cache->quarantine);
        }
    }
}

void hk_path_free_hardened_in_slab(hk_cache_t *cache, hk_slab_t *slab, void *block)
{
    hk_quarantined_t freed = {block, hk_class_info[slab->class_index].block_bytes,
                              slab->heap->owner, slab->class_index};
    hk_harden_end(slab, block);
    if (freed.owner == HK_OWNER_NONE) {
        hk_harden_keep(slab->heap, freed);
    } else if (cache != NULL && cache->quarantine != NULL) {
        quarantine_inside(cache, freed);
    } else {
        hk_heap_put_any(block);
    }
}

/* ---- Outside the gate ---- */

/* Frees a block if the cache alone is enough for it; false, and nothing done, if not. */
static bool free_within(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block)
{
    return cache->tag == (uint64_t)owner << HK_OWNER_SHIFT
               ? hk_path_free_own_within(cache, class_index, block)
               : hk_cache_try_outgoing(cache, owner, class_index, block);
}

/* Frees a block that leaves the quarantine.  While a fork is under way the block
 * is noted.  It is made live for that, since its note will be worked off by a free like any
 * other. */
static void free_evicted(hk_cache_t *cache, hk_quarantined_t evicted)
{
    if (hk_canary.extent == HK_CANARY_WHOLE) {
        hk_harden_inspect_free(evicted);
    }
    if (free_within(cache, evicted.owner, evicted.class_index, evicted.block)) {
        return;
    }
    if (!hk_thread_enter(cache)) {
        hk_harden_revive(evicted);
        if (!hk_refuge_defer(evicted.block) && hk_thread_enter(cache)) { /* the fork is over */
            hk_path_free_by_map(cache, evicted.block);
            hk_thread_leave(cache);
        }
        return;
    }
    hk_path_free_cached(cache, evicted.owner, evicted.class_index, evicted.block);
    hk_thread_leave(cache);
}

static HK_NOINLINE void free_all_evicted(hk_cache_t *cache, hk_quarantined_t evicted)
{
    free_evicted(cache, evicted);
    while (hk_quarantine_is_over(cache->quarantine)) {
        free_evicted(cache, hk_quarantine_take(cache->quarantine));
    }
}

/* Frees any block, for a thread with a hardened heap: into the quarantine, if the near table knows
 * it. */
HK_INLINE void free_hardened_to(hk_cache_t *cache, void *block, uint64_t folded,
                                hk_canary_extent_t extent)
{
    hk_quarantined_t freed;
    hk_quarantined_t evicted;
    if (HK_UNLIKELY(!hk_harden_find_folded(block, folded, &freed) || cache->quarantine == NULL ||
                    !hk_harden_try_end(freed, extent))) {
        if (block != NULL) {
            hk_path_free_through_gate(block);
        }
        return;
    }
    if (hk_quarantine_exchange(cache->quarantine, freed, &evicted)) {
        free_all_evicted(cache, evicted);
    }
}

HK_NOINLINE void hk_path_free_hardened_whole(hk_cache_t *cache, void *block, uint64_t folded)
{
    free_hardened_to(cache, block, folded, HK_CANARY_WHOLE);
}

static HK_NOINLINE void free_hardened_part(hk_cache_t *cache, void *block, uint64_t folded)
{
    free_hardened_to(cache, block, folded, HK_CANARY_PART);
}

/* Puts the block that has left the quarantine into the loaded magazine; false if that has no room,
 * or more blocks have to leave, or the block is another heap's. */
HK_INLINE bool free_evicted_quickly(hk_cache_t *cache, uint64_t evicted)
{
    unsigned class_index = hk_quarantine_class(evicted);
    void *block = hk_quarantine_block(evicted);
    if (HK_UNLIKELY(cache->tag != (uint64_t)hk_quarantine_owner(evicted) << HK_OWNER_SHIFT ||
                    hk_cache_is_full(cache, class_index) ||
                    hk_quarantine_is_over(cache->quarantine) || !hk_live_clear(block))) {
        return false;
    }
    hk_cache_push(cache, class_index, block);
    return true;
}

/* The fast path of free at level 1: for a process in which one thread frees, when the quarantine
 * has as many blocks as it may.  All other cases go to the functions above, from the start, so that
 * nothing has to be kept over a call here. */
HK_NOINLINE void hk_path_free_hardened_quickly(hk_cache_t *cache, void *block, uint64_t folded)
{
    hk_quarantine_t *quarantine = cache->quarantine;
    hk_quarantined_t freed;
    if (HK_UNLIKELY(!hk_harden_find_folded(block, folded, &freed))) {
        if (block != NULL) { /* which it often is */
            hk_path_free_through_gate(block);
        }
        return;
    }
    if (HK_UNLIKELY(quarantine == NULL || !hk_quarantine_is_full(quarantine) ||
                    hk_load_relaxed(&hk_harden_threads) || /* relaxed: see harden.h */
                    !hk_harden_try_end_as(freed, HK_CANARY_PART, true))) {
        free_hardened_part(cache, block, folded);
        return;
    }
    uint64_t evicted = hk_quarantine_exchange_full(quarantine, freed);
    if (HK_UNLIKELY(!free_evicted_quickly(cache, evicted))) {
        free_all_evicted(cache, hk_quarantine_unpack(evicted));
    }
}
