/*
 * suspect: see suspect.h.
 */
#include "suspect.h"

#include "log.h"
#include "reject.h"
#include "run.h"

/* How many magazines of a depot are looked through: a lost bit is no reason to search for long. */
enum { DEPOT_MAGAZINES = 64 };

static bool is_among(const void *block, void *const *slots, size_t count)
{
    size_t i = 0;
    while (i < count && slots[i] != block) {
        i++;
    }
    return i < count;
}

static bool is_in_cache(const hk_cache_t *cache, unsigned class_index, const void *block)
{
    const hk_magazine_t *loaded = cache->loaded[class_index];
    const hk_magazine_t *previous = cache->previous[class_index];
    return (loaded != NULL &&
            is_among(block, loaded->slot,
                     hk_magazine_loaded_count(loaded, cache->top[class_index]))) ||
           (previous != NULL && is_among(block, previous->slot, previous->count));
}

static bool is_outgoing(const hk_cache_t *cache, uint16_t owner, const void *block)
{
    const hk_outgoing_t *outgoing = &cache->outgoing[owner % HK_OUTGOING_SLOTS];
    return outgoing->owner == owner &&
           is_among(block, outgoing->magazine->slot, outgoing->magazine->count);
}

static bool is_in_heap(hk_heap_t *heap, const hk_slab_t *slab, const void *block)
{
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    bool found = hk_slab_probe(slab, block) == HK_PUT_DOUBLE;
    const hk_magazine_t *magazine = heap->classes[slab->class_index].depot.stack;
    for (int i = 0; !found && magazine != NULL && i < DEPOT_MAGAZINES; i++) {
        found = is_among(block, magazine->slot, magazine->count);
        magazine = magazine->next;
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    return found;
}

void hk_suspect_check(const hk_cache_t *cache, const void *block, const char *what,
                      const char *what_if_free)
{
    const hk_slab_t *slab = hk_slab_find(block);
    if (slab == NULL || slab->class_index >= HK_CLASS_COUNT ||
        hk_slab_probe(slab, block) == HK_PUT_INTERIOR) {
        hk_reject_block(what, block, "an interior pointer: no block starts there");
    }
    hk_heap_t *heap = slab->heap;
    if (!hk_heaps_is_shared(heap) || is_in_heap(heap, slab, block) ||
        (cache != NULL && (is_in_cache(cache, slab->class_index, block) ||
                           is_outgoing(cache, heap->owner, block)))) {
        hk_reject_block(what_if_free, block, "the block is free already");
    }
}

void hk_suspect_check_owned(const hk_slab_t *slab, const void *block, const char *what,
                            const char *what_if_free)
{
    if (hk_slab_probe(slab, block) == HK_PUT_DONE) {
        return; /* nobody changes the bit of a live block but its holder */
    }
    hk_lock_acquire(&slab->heap->lock, HK_RANK_HEAP);
    hk_put_result_t result = hk_slab_probe(slab, block);
    hk_lock_release(&slab->heap->lock, HK_RANK_HEAP);
    if (result != HK_PUT_DONE) {
        hk_suspect_check(NULL, block, what, what_if_free);
    }
}

void hk_suspect_reject_foreign(const char *what, const void *block)
{
    hk_log_fatal(what, block, "not a block of this allocator, or already given back");
}

void hk_suspect_reject_run(const char *what, hk_run_area_t *area, const void *block)
{
    hk_reject_block(what, block,
                    hk_run_covers(area, block) ? "an interior pointer: no block starts there"
                                               : "the block is free already, or there was none");
}
