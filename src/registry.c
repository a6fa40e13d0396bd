/*
 * registry: see registry.h.
 */
#include "registry.h"

#include "limit.h"
#include "os.h"

_Atomic uint64_t hk_near[HK_NEAR_ENTRIES];

_Atomic(hk_leaf_entry_t *) hk_registry_root[1 << HK_ROOT_BITS];

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

/* Leaves are added without a lock, so that a thread can map memory while a fork is under way.  Of
 * two that race, the later leaf is unmapped again. */
static bool add_leaf(uintptr_t address)
{
    size_t bytes = sizeof(hk_leaf_entry_t) << HK_LEAF_BITS;
    hk_leaf_entry_t *leaf = hk_limit_map(bytes, hk_os_page_bytes());
    if (leaf == NULL) {
        return false;
    }
    hk_leaf_entry_t *none = NULL;
    if (!hk_cas_acq_rel(&hk_registry_root[hk_registry_root_index(address)], &none, leaf)) {
        hk_os_unmap(leaf, bytes);
        hk_limit_uncharge(bytes);
    }
    return true;
}

bool hk_registry_insert(void *address, hk_region_t *region)
{
    uintptr_t number = (uintptr_t)address;
    if (number >> HK_ADDRESS_BITS != 0 ||
        (hk_registry_entry_of(number) == NULL && !add_leaf(number))) {
        return false;
    }
    /* release: pairs with hk_registry_find */
    hk_store_release(hk_registry_entry_of(number), region);
    return true;
}

void hk_registry_remove(void *address)
{
    hk_store_release(hk_registry_entry_of((uintptr_t)address), NULL);
}

bool hk_registry_take(void *address, hk_region_t *region)
{
    hk_leaf_entry_t *entry = hk_registry_entry_of((uintptr_t)address);
    return entry != NULL && hk_cas_acq_rel(entry, &region, NULL);
}

void hk_registry_each_leaf(void (*visit)(const void *address, size_t bytes, void *context),
                           void *context)
{
    for (size_t i = 0; i < sizeof hk_registry_root / sizeof hk_registry_root[0]; i++) {
        const hk_leaf_entry_t *leaf =
            hk_load_acquire(&hk_registry_root[i]); /* acquire: pairs with add_leaf */
        if (leaf != NULL) {
            visit(leaf, sizeof(hk_leaf_entry_t) << HK_LEAF_BITS, context);
        }
    }
}

void hk_registry_each_table(void (*visit)(const void *address, size_t bytes, void *context),
                            void *context)
{
    visit(hk_near, sizeof hk_near, context);
    visit(hk_registry_root, sizeof hk_registry_root, context);
}
