/*
 * registry: address to owner, lock-free to read.
 *
 * Two parts.  The *near table* answers free's question, "is this block mine, and of which class?",
 * in one load: 65,536 entries, indexed by bits 16 to 31 of the address, each holding one slab
 * unit's address, class and owner folded together (hk_registry_entry), or zero.  It is lossy: two
 * units 4 GiB apart share an entry and the later one has it.  The *map* is whole: for each 2 MiB of
 * address space a pointer to the descriptor of the superslab, area or direct mapping there.
 *
 * Why relaxed access to the near table is enough: a unit's entry is written before the first block
 * of its slab leaves the heap, so the write happens before any free of such a block, by whatever
 * carried the pointer to the freeing thread; it is cleared only when no block of the slab is live.
 * A reader with a live pointer therefore sees this entry or a later one of another unit, which
 * differs in address bits and is not taken for it.
 */
#ifndef HK_REGISTRY_H
#define HK_REGISTRY_H

#include "atomic.h"
#include "sizeclass.h"

enum {
    HK_SUPERSLAB_SHIFT = 21,
    HK_SUPERSLAB_BYTES = 1 << HK_SUPERSLAB_SHIFT,
    HK_NEAR_ENTRIES = 1 << 16,
    HK_OWNER_SHIFT = 48, /* owners live above the address bits */
    HK_OWNER_NONE = 0xffff,
    /* Added to the class of a hardened heap's unit in the near table: no fast path takes such a
     * one. */
    HK_NEAR_HARDENED = 0x80,
};

static_assert((int)HK_CLASS_COUNT <= (int)HK_NEAR_HARDENED, "no class looks like a hardened one");

/* What the map points to starts with one of these. */
typedef enum hk_region_kind {
    HK_REGION_SUPERSLAB = 1,
    HK_REGION_RUNS,
    HK_REGION_LARGE,
    HK_REGION_REFUGE,
    HK_REGION_GUARD,   /* sampled blocks */
    HK_REGION_NOTHING, /* blocks of no bytes, with hardening */
    HK_REGION_RETIRED, /* a direct mapping that was freed, without access: it waits a while */
} hk_region_kind_t;

typedef struct hk_region {
    hk_region_kind_t kind;
} hk_region_t;

extern _Atomic uint64_t hk_near[HK_NEAR_ENTRIES];

/* address XOR hk_registry_entry(...) XOR (owner << HK_OWNER_SHIFT), shifted right by HK_UNIT_SHIFT,
 * is the class if and only if address lies in the unit that the entry was made for and owner is its
 * owner. */
static inline uint64_t hk_registry_entry(uintptr_t unit, unsigned class_index, uint16_t owner)
{
    return (uint64_t)unit ^ (uint64_t)class_index << HK_UNIT_SHIFT ^
           (uint64_t)owner << HK_OWNER_SHIFT;
}

HK_INLINE uint64_t hk_registry_near(uintptr_t address)
{
    return hk_load_relaxed(&hk_near[(uint32_t)address >> HK_UNIT_SHIFT]); /* relaxed: see above */
}

/* The address of a block with its near entry folded in: the class, from HK_UNIT_SHIFT on, and the
 * owner, from HK_OWNER_SHIFT on, if the entry is that unit's; else address bits are left
 * between. */
HK_INLINE uint64_t hk_registry_fold(const void *block)
{
    return hk_registry_near((uintptr_t)block) ^ (uintptr_t)block;
}

/* Sets the entry for a unit; clears it if it is still this one. */
void hk_registry_set_near(uintptr_t unit, unsigned class_index, uint16_t owner);
void hk_registry_clear_near(uintptr_t unit, unsigned class_index, uint16_t owner);

/* Enters the region that starts at address, a multiple of 2 MiB.  False if memory for a leaf is
 * lacking. */
bool hk_registry_insert(void *address, hk_region_t *region);
void hk_registry_remove(void *address);

/* Takes out the region that starts at address if it is this one; of two threads that try one gets
 * true. */
bool hk_registry_take(void *address, hk_region_t *region);

/* The region whose first 2 MiB hold address, or NULL. */
hk_region_t *hk_registry_find(const void *address);

/* Calls visit for each leaf of the map; for the tables that are part of the library. */
void hk_registry_each_leaf(void (*visit)(const void *address, size_t bytes, void *context),
                           void *context);
void hk_registry_each_table(void (*visit)(const void *address, size_t bytes, void *context),
                            void *context);

#endif
