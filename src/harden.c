/*
 * harden: see harden.h.
 */
#include "harden.h"

#include "canary.h"
#include "log.h"
#include "meta.h"
#include "nothing.h"
#include "options.h"
#include "quarantine.h"
#include "span.h"

enum {
    STOCK_BLOCKS = 32, /* of one class, at most */
    EVICTED_AT_ONCE = 16,
};

struct hk_harden {
    hk_heap_t *heap; /* const */
    hk_quarantine_t *quarantine;
    uint8_t most[HK_CLASS_COUNT]; /* const */
    uint8_t count[HK_CLASS_COUNT];
    void *stock[HK_CLASS_COUNT][STOCK_BLOCKS];
};

hk_harden_t *hk_harden_new(hk_heap_t *heap)
{
    hk_harden_t *store = hk_meta_allocate(HK_META_HARDEN, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        unsigned most = hk_policy_magazine_blocks(hk_class_info[class_index].block_bytes);
        store->most[class_index] = (uint8_t)(most < STOCK_BLOCKS ? most : STOCK_BLOCKS);
        store->count[class_index] = 0;
    }
    store->heap = heap;
    store->quarantine = hk_quarantine_new();
    if (store->quarantine == NULL) {
        hk_meta_free(HK_META_HARDEN, store);
        return NULL;
    }
    return store;
}

void hk_harden_delete(hk_harden_t *store)
{
    hk_quarantine_delete(store->quarantine);
    hk_meta_free(HK_META_HARDEN, store);
}

/* ---- Complaints ---- */

static HK_COLD _Noreturn void reject_overflow(const void *block, size_t size)
{
    hk_line_t line = {0};
    hk_line_text(&line, "the block of ");
    hk_line_number(&line, size);
    hk_line_text(&line, " bytes was written to behind its end");
    line.text[line.length] = '\0';
    hk_log_fatal("overflow", block, line.text);
}

static HK_COLD _Noreturn void reject_write_after_free(const void *block)
{
    hk_log_fatal("write after free", block, "the block was written to while it was free");
}

/* ---- Out ---- */

/* A block that was free, and is nobody's now, must be as it was cleared. */
static void check_clear(const void *block, size_t block_bytes)
{
    size_t size;
    hk_canary_state_t state = hk_canary_read(block, block_bytes, &size);
    if (HK_UNLIKELY(state == HK_CANARY_LIVE || state == HK_CANARY_BROKEN ||
                    !hk_canary_is_clear(block, block_bytes))) {
        reject_write_after_free(block);
    }
}

static void *hand_out(void *block, unsigned class_index, size_t size)
{
    size_t block_bytes = hk_class_info[class_index].block_bytes;
    check_clear(block, block_bytes);
    hk_canary_arm(block, block_bytes, size);
    return block;
}

unsigned hk_harden_class_of(size_t size, size_t alignment)
{
    return hk_class_of_aligned(size + HK_CANARY_TAIL_BYTES, alignment);
}

static void *take_stock(hk_harden_t *store, unsigned class_index)
{
    void **stock = store->stock[class_index];
    unsigned at = hk_random_below(&store->quarantine->random, store->count[class_index]);
    void *block = stock[at];
    stock[at] = stock[--store->count[class_index]];
    return block;
}

void *hk_harden_try_allocate(hk_harden_t *store, size_t size, size_t alignment)
{
    unsigned class_index = hk_harden_class_of(size, alignment);
    if (size == 0 || class_index == HK_CLASS_COUNT || store->count[class_index] == 0) {
        return NULL;
    }
    return hand_out(take_stock(store, class_index), class_index, size);
}

static bool refill(hk_harden_t *store, unsigned class_index)
{
    unsigned most = hk_policy_magazine_blocks(hk_class_info[class_index].block_bytes);
    most = most < STOCK_BLOCKS ? most : STOCK_BLOCKS;
    unsigned count = hk_heap_take_blocks(store->heap, class_index, store->stock[class_index], most);
    store->count[class_index] = (uint8_t)count;
    return count > 0;
}

void *hk_harden_allocate(hk_harden_t *store, size_t size, size_t alignment)
{
    bool fresh;
    void *nothing = size == 0 && alignment <= HK_NOTHING_ALIGNMENT ? hk_nothing_allocate() : NULL;
    if (nothing != NULL) {
        return nothing;
    }
    unsigned class_index = hk_harden_class_of(size, alignment);
    if (class_index == HK_CLASS_COUNT) {
        return hk_span_allocate(store->heap, size, alignment, &fresh);
    }
    if (store->count[class_index] == 0 && !refill(store, class_index)) {
        return NULL;
    }
    return hand_out(take_stock(store, class_index), class_index, size);
}

void *hk_harden_allocate_in(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh)
{
    unsigned class_index = hk_harden_class_of(size, alignment);
    if (class_index == HK_CLASS_COUNT) {
        return hk_span_allocate(heap, size, alignment, fresh);
    }
    void *block;
    return hk_heap_take_blocks(heap, class_index, &block, 1) == 0
               ? NULL
               : hand_out(block, class_index, size);
}

/* ---- In ---- */

/* Puts a block that nobody holds any more into the stock, if it is of this heap and there is room. */
static bool restock(hk_harden_t *store, hk_quarantined_t freed)
{
    unsigned count = store->count[freed.class_index];
    if (freed.owner != store->heap->owner || count >= store->most[freed.class_index]) {
        return false;
    }
    if (hk_options.harden >= 2) {
        check_clear(freed.block, hk_class_info[freed.class_index].block_bytes);
    }
    store->stock[freed.class_index][count] = freed.block;
    store->count[freed.class_index]++;
    return true;
}

static void put_back(hk_quarantined_t freed)
{
    if (hk_options.harden >= 2) {
        check_clear(freed.block, hk_class_info[freed.class_index].block_bytes);
    }
    hk_heap_put_any(freed.block);
}

static bool evict_into_stock(hk_harden_t *store)
{
    hk_quarantine_t *quarantine = store->quarantine;
    uint32_t place = hk_quarantine_choose(quarantine);
    if (!restock(store, quarantine->blocks[place])) {
        return false;
    }
    (void)hk_quarantine_take(quarantine, place);
    return true;
}

bool hk_harden_try_free(hk_harden_t *store, void *block, uint16_t owner, unsigned class_index)
{
    size_t block_bytes = hk_class_info[class_index].block_bytes;
    size_t size;
    uintptr_t last = (uintptr_t)block + block_bytes - 1;
    /* A pointer into a block may lie so near to the superslab's end that there is no tail to read. */
    if (((uintptr_t)block ^ last) >> HK_SUPERSLAB_SHIFT != 0 ||
        ((uintptr_t)block & (HK_CANARY_TAIL_BYTES - 1)) != 0 ||
        hk_canary_read(block, block_bytes, &size) != HK_CANARY_LIVE) {
        return false;
    }
    if (hk_quarantine_is_full(store->quarantine, class_index) && !evict_into_stock(store)) {
        return false;
    }
    if (hk_quarantine_is_full(store->quarantine, class_index) ||
        !hk_canary_holds(block, block_bytes, size) || !hk_canary_end(block, block_bytes, size)) {
        return false;
    }
    hk_canary_clear(block, block_bytes);
    hk_quarantine_add(store->quarantine, (hk_quarantined_t){block, owner, (uint8_t)class_index});
    return true;
}

/* The size of the live block that starts there, its canary whole; ends the process if there is none, naming what was tried. */
static size_t check_live(const hk_slab_t *slab, const void *block, const char *what,
                         const char *what_if_free)
{
    size_t size;
    size_t block_bytes = hk_class_info[slab->class_index].block_bytes;
    if (!hk_slab_starts_block(slab, block)) {
        hk_log_fatal(what, block, "an interior pointer: no block starts there");
    }
    switch (hk_canary_read(block, block_bytes, &size)) {
    case HK_CANARY_LIVE: break;
    case HK_CANARY_FREE: hk_log_fatal(what_if_free, block, "the block is free already");
    case HK_CANARY_UNUSED: hk_log_fatal(what, block, "no block was ever allocated there");
    case HK_CANARY_BROKEN: reject_overflow(block, block_bytes - HK_CANARY_TAIL_BYTES);
    }
    if (HK_UNLIKELY(!hk_canary_holds(block, block_bytes, size))) {
        reject_overflow(block, size);
    }
    return size;
}

void hk_harden_free(hk_harden_t *store, hk_slab_t *slab, void *block)
{
    uint8_t class_index = slab->class_index;
    size_t block_bytes = hk_class_info[class_index].block_bytes;
    size_t size = check_live(slab, block, "invalid free", "double free");
    if (!hk_canary_end(block, block_bytes, size)) {
        hk_log_fatal("double free", block, "another thread freed the block at the same time");
    }
    hk_canary_clear(block, block_bytes);
    hk_quarantined_t freed = {block, slab->heap->owner, class_index};
    if (store == NULL || freed.owner == HK_OWNER_NONE) {
        put_back(freed);
        return;
    }
    hk_quarantine_t *quarantine = store->quarantine;
    for (unsigned i = 0; quarantine->count > 0 &&
                         (i < EVICTED_AT_ONCE || hk_quarantine_is_full(quarantine, class_index));
         i++) {
        hk_quarantined_t evicted = hk_quarantine_take(quarantine, hk_quarantine_choose(quarantine));
        if (!restock(store, evicted)) {
            put_back(evicted);
        }
    }
    hk_quarantine_add(quarantine, freed);
}

size_t hk_harden_usable_bytes(const hk_slab_t *slab, const void *block, const char *what)
{
    return check_live(slab, block, what, what);
}

void hk_harden_shrink(const hk_slab_t *slab, void *block, size_t size)
{
    hk_canary_arm(block, hk_class_info[slab->class_index].block_bytes, size);
}

void hk_harden_drain(hk_harden_t *store)
{
    while (store->quarantine->count > 0) {
        hk_quarantined_t freed =
            hk_quarantine_take(store->quarantine, store->quarantine->count - 1);
        check_clear(freed.block, hk_class_info[freed.class_index].block_bytes);
        hk_heap_put_any(freed.block);
    }
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        while (store->count[class_index] > 0) {
            hk_heap_put_any(store->stock[class_index][--store->count[class_index]]);
        }
    }
}

/* The store is its thread's, who may be at work: the figure may be off by a few blocks. */
__attribute__((no_sanitize("thread"))) size_t hk_harden_stored_bytes(const hk_harden_t *store)
{
    size_t bytes = store->quarantine->bytes;
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        bytes += (size_t)store->count[class_index] * hk_class_info[class_index].block_bytes;
    }
    return bytes;
}

/* ---- The end ---- */

static void inspect_block(const void *block, size_t block_bytes)
{
    size_t size;
    switch (hk_canary_read(block, block_bytes, &size)) {
    case HK_CANARY_LIVE:
        if (!hk_canary_holds(block, block_bytes, size)) {
            reject_overflow(block, size);
        }
        break;
    case HK_CANARY_FREE:
    case HK_CANARY_UNUSED: check_clear(block, block_bytes); break;
    case HK_CANARY_BROKEN: reject_overflow(block, block_bytes - HK_CANARY_TAIL_BYTES);
    }
}

static void inspect_slab(const hk_slab_t *slab)
{
    const hk_class_info_t *info = &hk_class_info[slab->class_index];
    for (size_t i = 0; i < info->block_count; i++) {
        inspect_block(hk_slab_base(slab) + i * info->block_bytes, info->block_bytes);
    }
}

static void inspect_superslab(const hk_superslab_t *superslab)
{
    for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS; unit++) {
        const hk_slab_t *slab = &superslab->slabs[unit];
        if (slab->units != 0 && hk_harden_owns(slab->heap)) {
            inspect_slab(slab);
        }
    }
}

/* Under the lock: the housekeeper may be giving empty slabs back. */
void hk_harden_inspect(hk_pool_t *pool)
{
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        for (const hk_superslab_t *s = pool->by_free[list]; s != NULL; s = s->next) {
            inspect_superslab(s);
        }
    }
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}
