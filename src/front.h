/*
 * front: what the files of the malloc family share: failing, handing blocks out and taking them
 * back.
 */
#ifndef HK_FRONT_H
#define HK_FRONT_H

#include <string.h>

#include "options.h"
#include "path.h"
#include "poison.h"

/* Sets errno and returns NULL. */
HK_COLD void *hk_front_fail(int error);

/* ---- What crosses into the program's hands and back ---- */

/* Whether blocks are poisoned.  Hardening and sampling write into free blocks themselves. */
HK_INLINE bool hk_front_poisons(void)
{
    return HK_POISONS && hk_options.harden == 0 && hk_options.guard_sample == 0;
}

HK_INLINE void *hk_front_hand_out(void *block)
{
    if (hk_front_poisons() && block != NULL) {
        hk_poison_clear(block, hk_path_usable_bytes(block, "handed out", "handed out"));
    }
    return block;
}

HK_INLINE void hk_front_take_back(void *block)
{
    if (hk_front_poisons() && block != NULL) {
        hk_poison_set(block, hk_path_usable_bytes(block, "invalid free", "double free"));
    }
    hk_path_free(block);
}

/* realloc for a block that is not NULL and a size that is not 0.  If the block has to move, the new
 * one is in `heap`; if that is NULL, in the heap that the block is in. */
void *hk_front_resize(hk_heap_t *heap, void *block, size_t size);

/* A block of a first-class heap; NULL and ENOMEM without memory. */
void *hk_front_allocate_in(hk_heap_t *heap, size_t alignment, size_t size, bool zeroed);

/* Another name, exported, of a function in the same file. */
#if defined(__clang__)
#define HK_ALIAS(target) HAK_API __attribute__((alias(#target), used))
#else /* gcc wants to be told that both have the same attributes */
#define HK_ALIAS(target) HAK_API __attribute__((alias(#target), copy(target), used))
#endif

#endif
