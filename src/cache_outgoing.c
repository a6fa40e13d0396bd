/*
 * cache, outgoing: blocks of other heaps, on their way there.  See cache.h.
 */
#include "cache.h"
#include "reject.h"

/* A magazine goes off for another owner's sake with so many blocks, or if it has kept so many of
 * others' out: where more heaps than places are freed into at random, each block would else take a
 * magazine along. */
enum { WORTH_BLOCKS = 16 };

static void hand_over(hk_cache_t *cache, hk_outgoing_t *outgoing)
{
    size_t bytes = (size_t)(HK_OUTGOING_BYTES - outgoing->room_bytes);
    hk_magazine_t *magazine = outgoing->magazine;
    hk_heap_t *heap = hk_load_acquire(&hk_heap_table[outgoing->owner]);
    outgoing->owner = 0;
    hk_fence_signal();
    outgoing->magazine = NULL;
    hk_heap_hand_over(heap, magazine, bytes);
    hk_cache_note_freed(cache, bytes);
}

void hk_cache_hand_over(hk_cache_t *cache)
{
    for (unsigned slot = 0; slot < HK_OUTGOING_SLOTS; slot++) {
        if (cache->outgoing[slot].owner != 0) {
            hand_over(cache, &cache->outgoing[slot]);
        }
    }
}

/* An empty magazine for blocks of another heap; NULL without memory. */
static hk_magazine_t *take_spare(hk_cache_t *cache)
{
    hk_magazine_t *magazine = hk_magazine_pop_list(&cache->spare);
    if (magazine == NULL) {
        return hk_heap_take_magazine(cache->heap, HK_MAGAZINE_KINDS - 1);
    }
    cache->spare_count--;
    return magazine;
}

/* The live bit stays set: only the other heap's own threads clear it. */
static void append(hk_magazine_t *magazine, unsigned class_index, void *block)
{
    if (magazine->count > 0 && magazine->slot[magazine->count - 1] == block) {
        hk_reject_block("double free", block, "the block is free already");
    }
    if (magazine->class_index != class_index) {
        magazine->class_index = HK_MAGAZINE_MIXED;
    }
    magazine->slot[magazine->count] = block;
    hk_fence_signal(); /* as in hk_cache_push */
    magazine->count++;
}

/* Begins a magazine with a block; false without memory. */
static bool begin_outgoing(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block)
{
    hk_outgoing_t *outgoing = &cache->outgoing[owner % HK_OUTGOING_SLOTS];
    hk_magazine_t *magazine = take_spare(cache);
    if (magazine == NULL) {
        return false;
    }
    magazine->class_index = (uint16_t)class_index;
    magazine->marks = HK_MARKS_SET;
    append(magazine, class_index, block);
    outgoing->magazine = magazine;
    outgoing->room_bytes = HK_OUTGOING_BYTES - (int32_t)hk_class_info[class_index].block_bytes;
    outgoing->past = 0;
    hk_fence_signal(); /* from here on the owner says that the magazine is there */
    outgoing->owner = owner;
    return true;
}

/* Whether the magazine in a place makes way for another owner's blocks. */
static bool makes_way(hk_outgoing_t *outgoing)
{
    return outgoing->magazine->count >= WORTH_BLOCKS || ++outgoing->past >= WORTH_BLOCKS;
}

void hk_cache_push_outgoing(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block)
{
    hk_outgoing_t *outgoing = &cache->outgoing[owner % HK_OUTGOING_SLOTS];
    if (outgoing->owner != owner) {
        bool sent = outgoing->owner != 0 && makes_way(outgoing);
        if (sent) {
            hand_over(cache, outgoing);
        }
        if (outgoing->owner != 0 || !begin_outgoing(cache, owner, class_index, block)) {
            hk_heap_put_any(block);
        }
        if (sent) {
            hk_cache_help(cache, HK_TRAP_MALLOC);
        }
        return;
    }
    append(outgoing->magazine, class_index, block);
    outgoing->room_bytes -= (int32_t)hk_class_info[class_index].block_bytes;
    if (outgoing->magazine->count == outgoing->magazine->capacity || outgoing->room_bytes <= 0) {
        hand_over(cache, outgoing);
        hk_cache_help(cache, HK_TRAP_MALLOC);
    }
}
