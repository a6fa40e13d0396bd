/*
 * registry: address to owner, lock-free to read.
 *
 * It has two parts.  The *near table* answers free's question, "is this block mine, and of which
 * class?", in one load.  It has 65,536 entries, indexed by bits 16 to 31 of the address.  Each
 * holds the address, class and owner of one slab unit, folded together (hk_registry_entry), or
 * zero.  It is lossy: two units 4 GiB apart share an entry, and the later one has it.  The *map*
 * loses nothing: for each 2 MiB of address space it has a pointer to the descriptor of the
 * superslab, area or direct mapping there.
 *
 * Why relaxed access to the near table is enough: a unit's entry is written before the first block
 * of its slab leaves the heap, and whatever carries the block's pointer to the freeing thread
 * orders that write before the free.  The entry is cleared only when no block of the slab is live.
 * So a reader with a live pointer sees this entry, or a later one of another unit, which differs in
 * address bits and is not taken for it.
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
    HK_ADDRESS_BITS = 48,
    HK_LEAF_BITS = 13, /* a leaf is 64 KiB and covers 16 GiB */
    HK_ROOT_BITS = HK_ADDRESS_BITS - HK_SUPERSLAB_SHIFT - HK_LEAF_BITS,
    /* Added to the class of a hardened heap's unit in the near table, so that no fast path takes a
     * block of it. */
    HK_NEAR_HARDENED = 0x80,
};

static_assert((int)HK_CLASS_COUNT <= (int)HK_NEAR_HARDENED, "no class looks like a hardened one");

/* Every descriptor that the map points to starts with an hk_region_t, which has one of these. */
typedef enum hk_region_kind {
    HK_REGION_SUPERSLAB = 1,
    HK_REGION_RUNS,
    HK_REGION_LARGE,
    HK_REGION_REFUGE,
    HK_REGION_GUARD,   /* sampled blocks */
    HK_REGION_NOTHING, /* blocks of no bytes, with hardening */
    HK_REGION_RETIRED, /* a freed direct mapping that waits for a while, without access */
} hk_region_kind_t;

typedef struct hk_region {
    hk_region_kind_t kind;
} hk_region_t;

/* What the map's leaves are arrays of. */
typedef _Atomic(hk_region_t *) hk_leaf_entry_t;

extern _Atomic uint64_t hk_near[HK_NEAR_ENTRIES];
extern _Atomic(hk_leaf_entry_t *) hk_registry_root[1 << HK_ROOT_BITS];

/* The root is rotated by half: the system maps at the end of 47 bits of addresses, so these entries
 * lie at the end of the root, on a page with other variables that are in use. */
static inline size_t hk_registry_root_index(uintptr_t address)
{
    return address >> HK_SUPERSLAB_SHIFT >> HK_LEAF_BITS ^ 1u << (HK_ROOT_BITS - 1);
}

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

/* The address of a block XOR its near entry.  If the entry is that of the block's unit, this has
 * the class from bit HK_UNIT_SHIFT on and the owner from bit HK_OWNER_SHIFT on; if not, address
 * bits are left between them. */
HK_INLINE uint64_t hk_registry_fold(const void *block)
{
    return hk_registry_near((uintptr_t)block) ^ (uintptr_t)block;
}

/* Sets the entry for a unit; clears it if it is still that of this unit. */
void hk_registry_set_near(uintptr_t unit, unsigned class_index, uint16_t owner);
void hk_registry_clear_near(uintptr_t unit, unsigned class_index, uint16_t owner);

/* Enters the region that starts at address, a multiple of 2 MiB.  False if there is no memory for a
 * leaf. */
bool hk_registry_insert(void *address, hk_region_t *region);
void hk_registry_remove(void *address);

/* Removes the region that starts at address, if it is this one.  Of two threads that try, one gets
 * true. */
bool hk_registry_take(void *address, hk_region_t *region);

/* The map's entry for address; NULL if its leaf does not exist, or address is none of ours. */
static inline hk_leaf_entry_t *hk_registry_entry_of(uintptr_t address)
{
    if (HK_UNLIKELY(address >> HK_ADDRESS_BITS != 0)) {
        return NULL;
    }
    /* acquire: pairs with the CAS in add_leaf */
    hk_leaf_entry_t *leaf = hk_load_acquire(&hk_registry_root[hk_registry_root_index(address)]);
    size_t number = address >> HK_SUPERSLAB_SHIFT & ((1u << HK_LEAF_BITS) - 1);
    return HK_UNLIKELY(leaf == NULL) ? NULL : &leaf[number];
}

/* The region whose first 2 MiB hold address, or NULL. */
static inline hk_region_t *hk_registry_find(const void *address)
{
    hk_leaf_entry_t *entry = hk_registry_entry_of((uintptr_t)address);
    return entry == NULL ? NULL : hk_load_acquire(entry);
}

/* The same for an address that the near table knows, and which therefore is in a superslab. */
HK_INLINE hk_region_t *hk_registry_find_known(const void *address)
{
    hk_leaf_entry_t *leaf =
        hk_load_acquire(&hk_registry_root[hk_registry_root_index((uintptr_t)address)]);
    size_t number = (uintptr_t)address >> HK_SUPERSLAB_SHIFT & ((1u << HK_LEAF_BITS) - 1);
    return hk_load_acquire(&leaf[number]);
}

/* Call visit for each leaf of the map; for each table that is part of the library. */
void hk_registry_each_leaf(void (*visit)(const void *address, size_t bytes, void *context),
                           void *context);
void hk_registry_each_table(void (*visit)(const void *address, size_t bytes, void *context),
                            void *context);

#endif
