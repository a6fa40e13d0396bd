/*
 * registry: see registry.h.
 */
#include "registry.h"

#include "limit.h"
#include "os.h"

enum {
    ADDRESS_BITS = 48,
    LEAF_BITS = 13, /* a leaf is 64 KiB and covers 16 GiB */
    ROOT_BITS = ADDRESS_BITS - HK_SUPERSLAB_SHIFT - LEAF_BITS,
    /* Turned by half: what the system maps lies at the end of 47 bits, and so at the end of the
     * root, on a page with other variables that are in use. */
    ROOT_TURN = 1 << (ROOT_BITS - 1),
};

typedef _Atomic(hk_region_t *) leaf_entry_t;

_Atomic uint64_t hk_near[HK_NEAR_ENTRIES];

static _Atomic(leaf_entry_t *) root[1 << ROOT_BITS];

void hk_registry_set_near(uintptr_t unit, unsigned class_index, uint16_t owner)
{
    hk_store_relaxed(&hk_near[(uint32_t)unit >> HK_UNIT_SHIFT],
                     hk_registry_entry(unit, class_index, owner)); /* relaxed: see registry.h */
}

void hk_registry_clear_near(uintptr_t unit, unsigned class_index, uint16_t owner)
{
    uint64_t entry = hk_registry_entry(unit, class_index, owner);
    (void)hk_cas_acq_rel(&hk_near[(uint32_t)unit >> HK_UNIT_SHIFT], &entry, 0);
}

static _Atomic(leaf_entry_t *) *root_entry(uintptr_t address)
{
    return &root[address >> HK_SUPERSLAB_SHIFT >> LEAF_BITS ^ ROOT_TURN];
}

/* The map's entry for address; NULL if its leaf does not exist, or address is none of ours. */
static leaf_entry_t *find_entry(uintptr_t address)
{
    if (address >> ADDRESS_BITS != 0) {
        return NULL;
    }
    uintptr_t number = address >> HK_SUPERSLAB_SHIFT;
    /* acquire: pairs with the CAS in add_leaf */
    leaf_entry_t *leaf = hk_load_acquire(root_entry(address));
    return leaf == NULL ? NULL : &leaf[number & ((1u << LEAF_BITS) - 1)];
}

/* Leaves are added without a lock, so that a thread may map memory while a fork is under way; one
 * that loses the race goes back. */
static bool add_leaf(uintptr_t address)
{
    size_t bytes = sizeof(leaf_entry_t) << LEAF_BITS;
    leaf_entry_t *leaf = hk_limit_map(bytes, hk_os_page_bytes());
    if (leaf == NULL) {
        return false;
    }
    leaf_entry_t *none = NULL;
    if (!hk_cas_acq_rel(root_entry(address), &none, leaf)) {
        hk_os_unmap(leaf, bytes);
        hk_limit_uncharge(bytes);
    }
    return true;
}

bool hk_registry_insert(void *address, hk_region_t *region)
{
    uintptr_t number = (uintptr_t)address;
    if (number >> ADDRESS_BITS != 0 || (find_entry(number) == NULL && !add_leaf(number))) {
        return false;
    }
    hk_store_release(find_entry(number), region); /* release: pairs with hk_registry_find */
    return true;
}

void hk_registry_remove(void *address)
{
    hk_store_release(find_entry((uintptr_t)address), NULL);
}

bool hk_registry_take(void *address, hk_region_t *region)
{
    leaf_entry_t *entry = find_entry((uintptr_t)address);
    return entry != NULL && hk_cas_acq_rel(entry, &region, NULL);
}

hk_region_t *hk_registry_find(const void *address)
{
    leaf_entry_t *entry = find_entry((uintptr_t)address);
    return entry == NULL ? NULL : hk_load_acquire(entry);
}

void hk_registry_each_leaf(void (*visit)(const void *address, size_t bytes, void *context),
                           void *context)
{
    for (size_t i = 0; i < sizeof root / sizeof root[0]; i++) {
        const leaf_entry_t *leaf = hk_load_acquire(&root[i]); /* acquire: pairs with add_leaf */
        if (leaf != NULL) {
            visit(leaf, sizeof(leaf_entry_t) << LEAF_BITS, context);
        }
    }
}

void hk_registry_each_table(void (*visit)(const void *address, size_t bytes, void *context),
                            void *context)
{
    visit(hk_near, sizeof hk_near, context);
    visit(root, sizeof root, context);
}
