/*
 * harden: see harden.h.
 */
#include "harden.h"
#include "reject.h"

enum { EVICTED_AT_ONCE = 16 };

_Atomic bool hk_harden_threads;

/* ---- Complaints ---- */

void hk_harden_reject_write(const void *block)
{
    hk_reject_block("write after free", block, "the block was written to while it was free");
}

/* ---- By the slab ---- */

static size_t block_bytes_of(unsigned class_index)
{
    return hk_class_info[class_index].block_bytes;
}

/* The size of the live block that starts there, with its canary whole.  If there is none, ends the
 * process, naming what was tried. */
static size_t check_live(const hk_slab_t *slab, const void *block, const char *what,
                         const char *what_if_free)
{
    size_t size;
    size_t block_bytes = block_bytes_of(slab->class_index);
    if (hk_slab_probe(slab, block) == HK_PUT_INTERIOR) {
        hk_reject_block(what, block, "an interior pointer: no block starts there");
    }
    switch (hk_canary_read(block, block_bytes, &size)) {
    case HK_CANARY_LIVE: break;
    case HK_CANARY_FREE: hk_reject_block(what_if_free, block, "the block is free already");
    case HK_CANARY_UNUSED: hk_reject_block(what, block, "no block was ever allocated there");
    case HK_CANARY_CHANGING: hk_reject_block(what_if_free, block, "it is being freed or resized");
    case HK_CANARY_BROKEN: hk_reject_overflow(block, block_bytes - HK_CANARY_TAIL_BYTES);
    }
    if (HK_UNLIKELY(!hk_canary_holds(block, block_bytes, size, hk_canary.extent))) {
        hk_reject_overflow(block, size);
    }
    return size;
}

void hk_harden_end(const hk_slab_t *slab, void *block)
{
    size_t block_bytes = block_bytes_of(slab->class_index);
    size_t size = check_live(slab, block, "invalid free", "double free");
    if (!hk_canary_try_begin_change(block, block_bytes, size)) {
        hk_reject_block("double free", block, "another thread freed the block at the same time");
    }
    hk_canary_end(block, block_bytes, hk_canary_seal(block), hk_canary.extent);
}

size_t hk_harden_usable_bytes(const hk_slab_t *slab, const void *block, const char *what)
{
    return check_live(slab, block, what, what);
}

/* ---- Quarantines ---- */

void hk_harden_keep(hk_heap_t *heap, hk_quarantined_t freed)
{
    hk_quarantined_t evicted[EVICTED_AT_ONCE];
    unsigned count = 0;
    if (heap->quarantine == NULL) {
        hk_heap_put_any(freed.block);
        return;
    }
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    freed.owner = 0;
    count += hk_quarantine_exchange(heap->quarantine, freed, &evicted[0]);
    while (count < EVICTED_AT_ONCE && hk_quarantine_is_over(heap->quarantine)) {
        evicted[count++] = hk_quarantine_take(heap->quarantine);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    for (unsigned i = 0; i < count; i++) {
        if (hk_canary.extent == HK_CANARY_WHOLE) {
            hk_harden_inspect_free(evicted[i]);
        }
        hk_heap_put_any(evicted[i].block);
    }
}

static void check_idle(const void *block, size_t block_bytes)
{
    if (!hk_canary_is_idle(block, block_bytes, hk_canary_seal(block), hk_canary.extent)) {
        hk_harden_reject_write(block);
    }
}

void *hk_harden_arm(void *block, unsigned class_index, size_t size)
{
    return hk_harden_arm_to(block, class_index, size, hk_canary.extent);
}

void hk_harden_inspect_free(hk_quarantined_t freed)
{
    check_idle(freed.block, freed.bytes);
}

void hk_harden_revive(hk_quarantined_t freed)
{
    (void)hk_harden_arm(freed.block, freed.class_index, 0);
}

void hk_harden_drain(hk_quarantine_t *quarantine, uint16_t owner)
{
    while (hk_quarantine_count(quarantine) > 0) {
        hk_quarantined_t freed = hk_quarantine_take(quarantine);
        check_idle(freed.block, freed.bytes);
        if (freed.owner == owner) {
            (void)hk_live_clear(freed.block);
        }
        hk_heap_put_any(freed.block);
    }
    quarantine->bytes = 0; /* a jump out of a free may have left some over */
}

/* The quarantine's thread may be at work, so the figure may be off by a block. */
__attribute__((no_sanitize("thread"))) size_t
hk_harden_quarantined_bytes(const hk_quarantine_t *quarantine)
{
    return quarantine->bytes;
}

/* ---- The end ---- */

static void inspect_block(const void *block, size_t block_bytes)
{
    size_t size;
    switch (hk_canary_read(block, block_bytes, &size)) {
    case HK_CANARY_LIVE:
        if (!hk_canary_holds(block, block_bytes, size, hk_canary.extent)) {
            hk_reject_overflow(block, size);
        }
        break;
    case HK_CANARY_FREE:
    case HK_CANARY_UNUSED: check_idle(block, block_bytes); break;
    case HK_CANARY_CHANGING: break;
    case HK_CANARY_BROKEN: hk_reject_overflow(block, block_bytes - HK_CANARY_TAIL_BYTES);
    }
}

static void inspect_slab(const hk_slab_t *slab)
{
    const hk_class_info_t *info = &hk_class_info[slab->class_index];
    for (size_t i = 0; i < info->block_count; i++) {
        inspect_block(hk_slab_base(slab) + i * info->block_bytes, info->block_bytes);
    }
}

/* Looks at slabs until it has looked at `most` blocks or more; returns how many. */
static size_t inspect_superslab(const hk_superslab_t *superslab, size_t most)
{
    size_t count = 0;
    for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS && count < most; unit++) {
        const hk_slab_t *slab = &superslab->slabs[unit];
        if (slab->units != 0 && slab->hardened) {
            inspect_slab(slab);
            count += hk_class_info[slab->class_index].block_count;
        }
    }
    return count;
}

/* Under the lock, since the housekeeper may be giving empty slabs back. */
size_t hk_harden_inspect(hk_pool_t *pool, size_t most)
{
    size_t count = 0;
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        for (const hk_superslab_t *s = pool->by_free[list]; s != NULL && count < most;
             s = s->next) {
            count += inspect_superslab(s, most - count);
        }
    }
    hk_lock_release(&pool->lock, HK_RANK_POOL);
    return count;
}

void hk_harden_inspect_heap(hk_heap_t *heap)
{
    if (hk_canary.extent == HK_CANARY_WHOLE) {
        (void)hk_harden_inspect(heap->pool, SIZE_MAX);
    }
    hk_quarantine_t *quarantine = heap->quarantine;
    if (quarantine == NULL) {
        return;
    }
    for (uint32_t i = quarantine->head; i != quarantine->tail; i++) {
        hk_quarantined_t freed = hk_quarantine_unpack(*hk_quarantine_place(quarantine, i));
        check_idle(freed.block, freed.bytes);
    }
}
