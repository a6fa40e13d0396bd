/*
 * harden: small blocks with canaries, handed out and taken back.
 *
 * With HAKMEM_HARDEN every small block of a thread's or first-class heap has a tail (canary.h), and
 * freed blocks wait in a quarantine.  Below that all is as always: magazines, depots, live bits.
 * The ordinary fast paths take no such block: to them every cache looks empty and full at once, and
 * the near table marks the units of hardened heaps.  So each malloc and free comes here, but still
 * works with the thread's own magazines.
 *
 * A tail stops being live in one step.  Once there are several threads that is an atomic
 * operation, so that of two threads that free the same block one is told.
 *
 * Heaps made before the options were read are not hardened, and their blocks are as always.
 */
#ifndef HK_HARDEN_H
#define HK_HARDEN_H

#include "canary.h"
#include "heap.h"

/* Whether several threads may be freeing.  It is set once, before the second thread frees, and read
 * without order.  A thread that misses it by some instructions may at worst not be told that the
 * other one freed the same block at the same time. */
extern _Atomic bool hk_harden_threads;

/* The class of a block of the size, with its tail; HK_CLASS_COUNT if there is none. */
HK_INLINE unsigned hk_harden_class_of(size_t size, size_t alignment)
{
    return size <= HK_SMALL_MAX - HK_CANARY_TAIL_BYTES && alignment <= HK_GRANULE_BYTES
               ? hk_class_of(size + HK_CANARY_TAIL_BYTES)
               : hk_class_of_aligned(size + HK_CANARY_TAIL_BYTES, alignment);
}

/* ---- Without the map: blocks that the near table knows ---- */

/* Whether the address lies in a slab of a thread's hardened heap; *found then says of which heap
 * and class.  The address is aligned as blocks are, but perhaps no block starts there.  folded is
 * hk_registry_fold's.  False proves nothing. */
HK_INLINE bool hk_harden_find_folded(const void *block, uint64_t folded, hk_quarantined_t *found)
{
    uint32_t class_index = (uint32_t)(folded >> HK_UNIT_SHIFT) - HK_NEAR_HARDENED;
    const uintptr_t never = ~(uintptr_t)0 << HK_OWNER_SHIFT | (HK_GRANULE_BYTES - 1);
    if (class_index >= HK_CLASS_COUNT || ((uintptr_t)block & never) != 0) {
        return false;
    }
    *found = (hk_quarantined_t){(void *)(uintptr_t)block, hk_class_info[class_index].block_bytes,
                                (uint16_t)(folded >> HK_OWNER_SHIFT), (uint8_t)class_index};
    return true;
}

HK_INLINE bool hk_harden_find(const void *block, hk_quarantined_t *found)
{
    return hk_harden_find_folded(block, hk_registry_fold(block), found);
}

/* Whether a live block of the class starts there with its canary whole; *size is its size then.  A
 * pointer into a block may lie so near to the superslab's end that there is no tail to read. */
HK_INLINE bool hk_harden_is_live(hk_quarantined_t found, uint64_t seal, size_t *size,
                                 hk_canary_extent_t extent)
{
    uintptr_t address = (uintptr_t)found.block;
    return (address ^ (address + found.bytes - 1)) >> HK_SUPERSLAB_SHIFT == 0 &&
           hk_canary_is_live(found.block, found.bytes, seal, size) &&
           hk_canary_holds(found.block, found.bytes, *size, extent);
}

/* Clears the block and marks it free; false, and nothing done, if no live block with a whole canary
 * starts there.  alone: no other thread can be freeing. */
HK_INLINE bool hk_harden_try_end_as(hk_quarantined_t found, hk_canary_extent_t extent, bool alone)
{
    size_t size;
    uint64_t seal = hk_canary_seal(found.block);
    if (HK_UNLIKELY(!hk_harden_is_live(found, seal, &size, extent))) {
        return false;
    }
    if (alone) {
        hk_canary_begin_change(found.block, found.bytes, seal);
    } else if (HK_UNLIKELY(!hk_canary_try_begin_change(found.block, found.bytes, size))) {
        return false;
    }
    hk_canary_end(found.block, found.bytes, seal, extent);
    return true;
}

HK_INLINE bool hk_harden_try_end(hk_quarantined_t found, hk_canary_extent_t extent)
{
    bool alone = !hk_load_relaxed(&hk_harden_threads); /* relaxed: see above */
    return hk_harden_try_end_as(found, extent, alone);
}

/* ---- By the slab ---- */

/* The same; the process ends if no live block with a whole canary starts there. */
void hk_harden_end(const hk_slab_t *slab, void *block);

/* Returns the size of the live block; the process ends if there is none.  what names the
 * operation. */
size_t hk_harden_usable_bytes(const hk_slab_t *slab, const void *block, const char *what);

/* Puts a block of a first-class heap, which hk_harden_end has marked free, into the heap's
 * quarantine. */
void hk_harden_keep(hk_heap_t *heap, hk_quarantined_t freed);

/* ---- Free blocks ---- */

HK_COLD _Noreturn void hk_harden_reject_write(const void *block);

/* Makes a free block that the caller has taken live; the process ends if it was written to while it
 * was free. */
HK_INLINE void *hk_harden_arm_to(void *block, unsigned class_index, size_t size,
                                 hk_canary_extent_t extent)
{
    size_t block_bytes = hk_class_info[class_index].block_bytes;
    uint64_t seal = hk_canary_seal(block);
    if (HK_UNLIKELY(!hk_canary_is_fit(block, block_bytes, seal, extent))) {
        hk_harden_reject_write(block);
    }
    hk_canary_arm(block, block_bytes, size, seal, extent);
    return block;
}

void *hk_harden_arm(void *block, unsigned class_index, size_t size);

/* Ends the process if a free block was written to. */
void hk_harden_inspect_free(hk_quarantined_t freed);

/* Makes a block that was marked free live again, of no bytes; for a caller that cannot free it
 * now. */
void hk_harden_revive(hk_quarantined_t freed);

/* Puts all blocks of a thread's quarantine back into slabs, and looks at each.  owner is that of
 * the thread's heap. */
void hk_harden_drain(hk_quarantine_t *quarantine, uint16_t owner);

/* Roughly the bytes that a quarantine holds; any thread may ask. */
size_t hk_harden_quarantined_bytes(const hk_quarantine_t *quarantine);

/* Looks at about `most` blocks of the pool's hardened slabs: the process ends if one was written to
 * behind its end or while it was free.  No other thread may be using the blocks.  Returns how many
 * it looked at. */
size_t hk_harden_inspect(hk_pool_t *pool, size_t most);

/* Looks at a first-class heap that is about to be destroyed: at its quarantine, and at level 2 at
 * all of its blocks too. */
void hk_harden_inspect_heap(hk_heap_t *heap);

#endif
