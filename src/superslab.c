/*
 * superslab: see superslab.h.
 */
#include "superslab.h"

#include <string.h>

#include "bitrange.h"
#include "canary.h"
#include "lend.h"
#include "limit.h"
#include "log.h"
#include "meta.h"
#include "options.h"
#include "os.h"
#include "poison.h"
#include "policy.h"
#include "wall.h"

/* With hardening so many lie between walls: each is three of the 65,530 mappings that a process may
 * have, of which the program's own and retire's must leave enough. */
enum { WALLED_MAX = 8192 };

static_assert((int)HK_LIVE_BYTES <= (int)HK_UNIT_BYTES, "the live bits fit the first unit");

#define NO_WORD UINT64_MAX

/* atomic, relaxed: statistics, and hints. */
static _Atomic uint64_t superslab_count, advised_count, huge_refusals, converted_count;

/* ---- Huge pages ---- */

static void note_refusal(void)
{
    if (hk_add_relaxed(&huge_refusals, 1) == 0 && hk_options.huge >= 2) {
        hk_log_warning("the system refuses huge pages:", "memory stays of small ones");
    }
}

bool hk_superslab_ask_huge(const hk_superslab_t *superslab)
{
    size_t more_bytes = superslab->idle_dirty ? 0 : HK_IDLE_BYTES;
    if (hk_superslab_huge_refusals() != 0 || !hk_limit_charge(more_bytes)) {
        return false;
    }
    bool done = hk_os_prefer_huge(superslab->base, HK_SUPERSLAB_BYTES);
    if (!done) {
        hk_limit_uncharge(more_bytes);
        note_refusal();
    }
    return done;
}

void hk_superslab_mark_huge(hk_superslab_t *superslab)
{
    hk_add_relaxed(&advised_count, !superslab->advised);
    superslab->huge = superslab->idle_dirty = superslab->advised = true;
}

/* Gives the idle part back, which is then not counted any more; false if it stays. */
static bool purge_idle_part(const hk_superslab_t *superslab)
{
    size_t start = hk_align_up(HK_LIVE_BYTES, hk_os_page_bytes());
    bool done =
        start == HK_UNIT_BYTES || hk_os_purge(superslab->base + start, HK_UNIT_BYTES - start);
    if (done) {
        hk_limit_uncharge(HK_IDLE_BYTES);
    }
    return done;
}

bool hk_superslab_make_small(const hk_superslab_t *superslab)
{
    hk_os_prefer_small(superslab->base, HK_SUPERSLAB_BYTES);
    return purge_idle_part(superslab);
}

/* Chooses the pages of a new superslab.  In one that is asked to be huge, all units are resident
 * from the first touch on, so all count as dirty.  A small heap refuses huge pages, whatever the
 * system's setting: it would be 2 MiB at once. */
static void choose_pages(hk_superslab_t *superslab)
{
    size_t unit_bytes = (size_t)HK_SLAB_UNITS_MAX * HK_UNIT_BYTES;
    hk_pages_t pages = hk_policy_pages(hk_options.huge, hk_superslab_count());
    if (pages == HK_PAGES_HUGE && !hk_limit_charge(unit_bytes)) {
        pages = HK_PAGES_SMALL; /* whole it would be more than the limits allow */
    }
    if (pages == HK_PAGES_HUGE) {
        if (hk_superslab_ask_huge(superslab)) {
            hk_superslab_mark_huge(superslab);
            superslab->dirty_units = superslab->free_units;
        } else {
            hk_limit_uncharge(unit_bytes);
        }
    } else if (pages == HK_PAGES_SMALL) {
        hk_os_prefer_small(superslab->base, HK_SUPERSLAB_BYTES);
    }
}

/* ---- In and out ---- */

static size_t first_bytes(const hk_superslab_t *superslab)
{
    return superslab->idle_dirty ? HK_UNIT_BYTES : HK_LIVE_BYTES;
}

/* What of it counts towards the limits: what may be resident. */
static size_t committed_bytes(const hk_superslab_t *superslab)
{
    return HK_UNIT_BYTES * hk_bitrange_sum(superslab->dirty_units) + first_bytes(superslab);
}

/* Makes a slot of an area the superslab's memory.  All live bits are clear in it. */
static bool borrow(hk_superslab_t *superslab)
{
    hk_loan_t loan;
    if (!hk_lend_slot(&loan)) {
        return false;
    }
    superslab->area = loan.area;
    superslab->base = loan.base;
    superslab->dirty_units = loan.dirty_units;
    hk_poison_clear(superslab->base, HK_LIVE_BYTES); /* it was the program's */
    memset(superslab->base, 0, HK_LIVE_BYTES);
    superslab->idle_dirty = !purge_idle_part(superslab);
    hk_add_relaxed(&converted_count, 1);
    return true;
}

/* What it is to its area, once that has it. */
static hk_loan_t loan_of(const hk_superslab_t *superslab, hk_run_area_t *area)
{
    return (hk_loan_t){.area = area,
                       .base = superslab->base,
                       .dirty_units = superslab->dirty_units,
                       .first_bytes = first_bytes(superslab)};
}

static bool map(hk_superslab_t *superslab, size_t bytes)
{
    if (!hk_limit_allows(bytes) || !hk_limit_charge(HK_LIVE_BYTES)) {
        return false;
    }
    superslab->walled = hk_options.harden != 0 && hk_superslab_count() < WALLED_MAX;
    superslab->base = superslab->walled ? hk_wall_map(HK_SUPERSLAB_BYTES, HK_SUPERSLAB_BYTES)
                                        : hk_os_map(HK_SUPERSLAB_BYTES, HK_SUPERSLAB_BYTES);
    if (superslab->base == NULL) {
        hk_limit_uncharge(HK_LIVE_BYTES);
        return false;
    }
    choose_pages(superslab);
    return true;
}

/* Gives its memory back to the system. */
static void unmap(hk_superslab_t *superslab)
{
    if (superslab->walled) {
        hk_wall_unmap(superslab->base, HK_SUPERSLAB_BYTES);
    } else {
        hk_os_unmap(superslab->base, HK_SUPERSLAB_BYTES);
    }
    hk_limit_uncharge(committed_bytes(superslab));
}

/* Gives its memory back to its area; if purge is set, to the system first.  Returns whether the
 * system has it. */
static bool end_loan(const hk_superslab_t *superslab, bool purge)
{
    hk_loan_t loan = loan_of(superslab, superslab->area);
    hk_poison_set(superslab->base, HK_LIVE_BYTES);
    if (superslab->advised) {
        hk_os_prefer_small(superslab->base, HK_SUPERSLAB_BYTES);
    }
    bool purged = purge && hk_os_purge(superslab->base, HK_SUPERSLAB_BYTES);
    if (purged) {
        loan.dirty_units = 0;
        loan.first_bytes = 0;
        hk_limit_uncharge(committed_bytes(superslab));
    }
    (void)hk_registry_insert(superslab->base, &loan.area->region); /* the leaf is there */
    hk_lend_take_back(&loan);
    return purged;
}

/* Its memory is not its own any more. */
static void forget(hk_superslab_t *superslab)
{
    hk_sub_relaxed(&advised_count, superslab->advised);
    hk_meta_free(HK_META_SUPERSLAB, superslab);
}

hk_superslab_t *hk_superslab_allocate(struct hk_pool *pool, size_t bytes, hk_origin_t origin)
{
    bool may_borrow = origin == HK_ORIGIN_ANY && hk_lend_is_possible();
    bool possible = may_borrow || hk_limit_allows(bytes);
    hk_superslab_t *superslab =
        possible ? hk_meta_allocate(HK_META_SUPERSLAB, sizeof *superslab) : NULL;
    if (superslab == NULL) {
        return NULL;
    }
    memset(superslab, 0, offsetof(hk_superslab_t, short_bitmaps));
    superslab->region.kind = HK_REGION_SUPERSLAB;
    superslab->free_units = UINT32_MAX - 1; /* the first unit is never free */
    superslab->pool = pool;
    for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS; unit++) {
        hk_slab_t *slab = &superslab->slabs[unit];
        slab->superslab = superslab;
        slab->first_unit = (uint8_t)unit;
        superslab->slab_of[unit] = (uint8_t)unit;
    }
    if ((may_borrow && borrow(superslab)) || map(superslab, bytes)) {
        if (hk_registry_insert(superslab->base, &superslab->region)) {
            hk_add_relaxed(&superslab_count, 1);
            return superslab;
        }
        unmap(superslab); /* a lent one has its leaf */
    }
    forget(superslab);
    return NULL;
}

size_t hk_superslab_free(hk_superslab_t *superslab)
{
    size_t units = hk_bitrange_sum(superslab->dirty_units);
    if (superslab->area != NULL) {
        units = end_loan(superslab, true) ? units : 0;
    } else {
        hk_registry_remove(superslab->base);
        unmap(superslab);
    }
    hk_sub_relaxed(&superslab_count, 1);
    forget(superslab);
    return units;
}

void hk_superslab_give_back(hk_superslab_t *superslab)
{
    (void)end_loan(superslab, false);
    hk_add_relaxed(&converted_count, 1);
    hk_sub_relaxed(&superslab_count, 1);
    forget(superslab);
}

bool hk_superslab_purge_units(const hk_superslab_t *superslab, uint32_t units)
{
    bool done = true;
    while (units != 0) { /* run by run; the first unit is never among them */
        unsigned first = (unsigned)__builtin_ctz(units);
        unsigned count = (unsigned)__builtin_ctz(~(units >> first));
        done &= hk_os_purge(superslab->base + ((size_t)first << HK_UNIT_SHIFT),
                            (size_t)count << HK_UNIT_SHIFT);
        units &= units + (1u << first); /* the carry clears the lowest run */
    }
    return done;
}

/* Where the system makes pages huge of itself, what is not dirty may be resident too: it is not
 * counted, so an area would never give it back. */
static void purge_clean_units(const hk_superslab_t *superslab)
{
    (void)hk_superslab_purge_units(superslab, superslab->free_units & ~superslab->dirty_units);
    if (!superslab->idle_dirty) {
        (void)hk_os_purge(superslab->base + HK_LIVE_BYTES, HK_IDLE_BYTES);
    }
}

bool hk_superslab_make_area(hk_superslab_t *const *superslabs, unsigned count, hk_runs_t *part)
{
    size_t bytes = (size_t)count << HK_SUPERSLAB_SHIFT;
    hk_run_area_t *area = hk_run_area_describe(part, superslabs[0]->base, bytes);
    if (area == NULL) {
        return false;
    }
    hk_os_prefer_small(area->base, bytes);
    for (unsigned i = 0; i < count; i++) {
        hk_loan_t loan = loan_of(superslabs[i], area);
        purge_clean_units(superslabs[i]);
        hk_poison_set(loan.base, HK_LIVE_BYTES);
        hk_lend_mark_dirty(&loan);
        (void)hk_registry_insert(loan.base, &area->region); /* the leaf is there */
        forget(superslabs[i]);
    }
    hk_add_relaxed(&converted_count, count);
    hk_sub_relaxed(&superslab_count, count);
    hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    hk_run_area_add_locked(area);
    hk_lock_release(&part->lock, HK_RANK_RUNS);
    return true;
}

uint64_t hk_superslab_converted_count(void)
{
    return hk_load_relaxed(&converted_count);
}

uint64_t hk_superslab_count(void)
{
    return hk_load_relaxed(&superslab_count);
}

uint64_t hk_superslab_advised_count(void)
{
    return hk_load_relaxed(&advised_count);
}

uint64_t hk_superslab_huge_refusals(void)
{
    return hk_load_relaxed(&huge_refusals);
}

/* ---- Slabs ---- */

static unsigned near_class(const hk_slab_t *slab)
{
    return slab->class_index | (slab->hardened ? (unsigned)HK_NEAR_HARDENED : 0);
}

void hk_slab_start(hk_slab_t *slab, uint16_t owner)
{
    unsigned blocks = hk_class_info[slab->class_index].block_count;
    unsigned words = (blocks + 63) / 64;
    memset(slab->bitmap, 0xff, words * sizeof slab->bitmap[0]);
    if (blocks % 64 != 0) {
        slab->bitmap[words - 1] = (1ull << blocks % 64) - 1;
    }
    slab->free_blocks = (uint16_t)blocks;
    slab->first_word = 0;
    if (slab->hardened && !slab->fresh) {
        hk_canary_reset(hk_slab_base(slab), hk_class_info[slab->class_index].block_bytes, blocks);
    }
    for (unsigned unit = 0; owner != HK_OWNER_NONE && unit < slab->units; unit++) {
        uintptr_t address = (uintptr_t)hk_slab_base(slab) + ((uintptr_t)unit << HK_UNIT_SHIFT);
        hk_live_touch_unit((void *)address);
        hk_registry_set_near(address, near_class(slab), owner);
    }
}

void hk_slab_stop(hk_slab_t *slab, uint16_t owner)
{
    slab->unsettled = 0;
    for (unsigned unit = 0; owner != HK_OWNER_NONE && unit < slab->units; unit++) {
        uintptr_t address = (uintptr_t)hk_slab_base(slab) + ((uintptr_t)unit << HK_UNIT_SHIFT);
        hk_registry_clear_near(address, near_class(slab), owner);
    }
}

/* Returns a word of the bitmap, in which the caller is going to set bits. */
HK_INLINE uint64_t take_word(hk_slab_t *slab, uint64_t number)
{
    if (number < slab->first_word) {
        slab->first_word = (uint16_t)number;
    }
    return slab->bitmap[number];
}

/* Stores the word again, unless the number is NO_WORD. */
HK_INLINE void put_word(hk_slab_t *slab, uint64_t number, uint64_t bits)
{
    if (number != NO_WORD) {
        slab->bitmap[number] = bits;
    }
}

/* Neighbouring blocks often share a word of the bitmap.  It stays in a register for all of them; in
 * memory each block would wait for the one before. */
unsigned hk_slab_put(hk_slab_t *slab, void *const *blocks, unsigned count)
{
    const hk_class_info_t info = hk_class_info[slab->class_index];
    uintptr_t base = (uintptr_t)hk_slab_base(slab);
    void *const *end = blocks + count;
    uint64_t number = NO_WORD;
    uint64_t bits = 0;
    for (; blocks < end; blocks++) {
        uint64_t index = hk_class_info_start_index(&info, (uintptr_t)*blocks - base);
        if (index == UINT32_MAX) {
            break;
        }
        if (index / 64 != number) {
            put_word(slab, number, bits);
            number = index / 64;
            bits = take_word(slab, number);
        }
        if (HK_UNLIKELY((bits >> index % 64 & 1) != 0)) {
            break;
        }
        bits |= 1ull << index % 64;
    }
    put_word(slab, number, bits);
    count -= (unsigned)(end - blocks);
    slab->free_blocks = (uint16_t)(slab->free_blocks + count);
    return count;
}

unsigned hk_slab_take(hk_slab_t *slab, void **end, unsigned count)
{
    size_t block_bytes = hk_class_info[slab->class_index].block_bytes;
    char *base = hk_slab_base(slab);
    uint64_t *bitmap = slab->bitmap;
    unsigned word = slab->first_word;
    unsigned taken = count < slab->free_blocks ? count : slab->free_blocks;
    void **last = end - taken;
    while (end > last) {
        uint64_t bits = bitmap[word];
        while (bits != 0 && end > last) {
            size_t index = (size_t)word * 64 + (unsigned)__builtin_ctzll(bits);
            *--end = base + index * block_bytes;
            bits &= bits - 1;
        }
        bitmap[word] = bits;
        word += bits == 0;
    }
    slab->first_word = (uint16_t)word;
    slab->free_blocks = (uint16_t)(slab->free_blocks - taken);
    return taken;
}

/* Takes the block of one set bit of the word. */
static void *take_bit(hk_slab_t *slab, unsigned word, uint64_t bit)
{
    slab->bitmap[word] &= ~bit;
    slab->free_blocks--;
    size_t index = (size_t)word * 64 + (unsigned)__builtin_ctzll(bit);
    return hk_slab_base(slab) + index * hk_class_info[slab->class_index].block_bytes;
}

static void skip_empty_words(hk_slab_t *slab)
{
    while (slab->bitmap[slab->first_word] == 0) {
        slab->first_word++;
    }
}

void *hk_slab_take_either(hk_slab_t *slab, bool second)
{
    skip_empty_words(slab);
    uint64_t bits = slab->bitmap[slab->first_word];
    uint64_t above = bits & (bits - 1);
    uint64_t chosen = second && above != 0 ? above : bits;
    return take_bit(slab, slab->first_word, chosen & -chosen);
}

void *hk_slab_take_random(hk_slab_t *slab, uint64_t random)
{
    unsigned end = (hk_class_info[slab->class_index].block_count + 63u) / 64;
    skip_empty_words(slab);
    unsigned words = end - slab->first_word;
    unsigned word = slab->first_word + (unsigned)((random >> 32) * words >> 32);
    while (slab->bitmap[word] == 0) {
        word = word + 1 < end ? word + 1 : slab->first_word;
    }
    unsigned shift = random & 63;
    uint64_t bits = slab->bitmap[word];
    uint64_t above = bits >> shift << shift;
    uint64_t chosen = above != 0 ? above : bits;
    return take_bit(slab, word, chosen & -chosen);
}

/* Others may be changing the word meanwhile, but not the bit of a live block. */
__attribute__((no_sanitize("thread"))) hk_put_result_t hk_slab_probe(const hk_slab_t *slab,
                                                                     const void *block)
{
    uint32_t index = hk_slab_index_of(slab, block);
    if (index == UINT32_MAX) {
        return HK_PUT_INTERIOR;
    }
    return (slab->bitmap[index / 64] >> index % 64 & 1) != 0 ? HK_PUT_DOUBLE : HK_PUT_DONE;
}
