/*
 * guard: see guard.h.
 */
#include "guard.h"

#include <stdlib.h>
#include <unistd.h>

#include "canary.h"
#include "limit.h"
#include "lock.h"
#include "log.h"
#include "meta.h"
#include "os.h"
#include "random.h"
#include "registry.h"
#include "trace.h"
#include "wall.h"

enum {
    SLOTS = 512,
    SLOT_PAGES = 16, /* the first one is never opened */
    EARLY = 256,     /* so many blocks are sampled at the process's start, if strict */
};

typedef enum state { UNUSED, LIVE, CHANGING, FREED } state_t;

typedef struct slot {
    _Atomic state_t state; /* lock(guard) to write */
    bool at_end;           /* of its pages */
    char *block;
    size_t size;
    size_t open_bytes; /* of its pages */
    hk_trace_t allocated;
    hk_trace_t freed;
} slot_t;

static struct {
    hk_region_t region;
    hk_lock_t lock;
    char *base;            /* const once started; NULL: no sampling */
    size_t slot_bytes;     /* const once started */
    uint64_t every;        /* const once started */
    bool strict;           /* const once started */
    bool stacks;           /* const once started */
    uint64_t seed;         /* const once started */
    slot_t *slots;         /* const once started */
    uint32_t queue[SLOTS]; /* lock(guard): slots not in use, the one freed first in front */
    uint32_t head;         /* lock(guard) */
    uint32_t waiting;      /* lock(guard): in the queue */
    _Atomic uint64_t drawn;
    _Atomic uint64_t early;    /* atomic: counts up to EARLY, or a little more */
    _Atomic size_t used_bytes; /* atomic: of opened pages; a statistic */
} guard;

/* ---- Sampling ---- */

void hk_guard_start(uint64_t every, bool strict, bool stacks)
{
    guard.slot_bytes = SLOT_PAGES * hk_os_page_bytes();
    size_t bytes = SLOTS * guard.slot_bytes; /* the last slot is the wall behind the one before */
    slot_t *slots = hk_meta_allocate(HK_META_GUARD, SLOTS * sizeof *slots);
    char *base = hk_os_reserve(bytes, HK_SUPERSLAB_BYTES);
    bool known = slots != NULL && base != NULL;
    guard.region.kind = HK_REGION_GUARD;
    for (size_t at = 0; known && at < bytes; at += HK_SUPERSLAB_BYTES) {
        known = hk_registry_insert(base + at, &guard.region);
    }
    if (!known) {
        hk_log_warning("no memory for guarded blocks:", "nothing is sampled");
        return;
    }
    for (uint32_t i = 0; i < SLOTS - 1; i++) {
        guard.queue[guard.waiting++] = i;
    }
    guard.seed = hk_random_seed();
    guard.every = every;
    guard.strict = strict;
    guard.slots = slots;
    guard.stacks = stacks && hk_trace_start(); /* allocates: nothing may be sampled in there */
    guard.base = base;
}

/* A random number that needs no lock. */
static uint64_t draw(void)
{
    uint64_t state = guard.seed + hk_add_relaxed(&guard.drawn, 1) * 0x9e3779b97f4a7c15u;
    state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u;
    return state ^ state >> 31;
}

bool hk_guard_is_due(int64_t *left, size_t allocated)
{
    if (guard.base == NULL) {
        return false;
    }
    if (guard.strict && hk_load_relaxed(&guard.early) < EARLY) { /* relaxed: about so many */
        hk_add_relaxed(&guard.early, 1);
        return true;
    }
    if (*left == 0) { /* the thread's first call */
        *left = 1 + (int64_t)(draw() % guard.every);
    }
    *left -= (int64_t)allocated;
    if (*left > 0) {
        return false;
    }
    *left = 1 + (int64_t)(draw() % (2 * guard.every - 1)); /* on average, every */
    return true;
}

/* ---- Slots ---- */

static void take_trace(hk_trace_t *trace)
{
    (guard.stacks ? hk_trace_take : hk_trace_take_thread)(trace);
}

/* For reports and checks; only hk_guard_free has to be exact, and asks under the lock. */
static state_t state_of(const slot_t *slot)
{
    return hk_load_relaxed(&slot->state); /* relaxed: who asks holds the block, or has misused it */
}

static char *pages_of(const slot_t *slot)
{
    size_t number = (size_t)(slot - guard.slots);
    return guard.base + number * guard.slot_bytes + hk_os_page_bytes();
}

static slot_t *slot_at(const void *address)
{
    return &guard.slots[(size_t)((const char *)address - guard.base) / guard.slot_bytes];
}

static slot_t *take_slot(void)
{
    slot_t *slot = NULL;
    hk_lock_acquire(&guard.lock, HK_RANK_GUARD);
    if (guard.waiting > 0) {
        slot = &guard.slots[guard.queue[guard.head]];
        guard.head = (guard.head + 1) % SLOTS;
        guard.waiting--;
        hk_store_relaxed(&slot->state, CHANGING); /* relaxed: under the lock */
    }
    hk_lock_release(&guard.lock, HK_RANK_GUARD);
    return slot;
}

/* Puts a slot at the end of the queue. */
static void return_slot(slot_t *slot, state_t state)
{
    hk_lock_acquire(&guard.lock, HK_RANK_GUARD);
    hk_store_relaxed(&slot->state, state); /* relaxed: under the lock */
    guard.queue[(guard.head + guard.waiting) % SLOTS] = (uint32_t)(slot - guard.slots);
    guard.waiting++;
    hk_lock_release(&guard.lock, HK_RANK_GUARD);
}

/* Exchanges the state; false if it is another. */
static bool change_state(slot_t *slot, state_t from, state_t to)
{
    hk_lock_acquire(&guard.lock, HK_RANK_GUARD);
    bool same = hk_load_relaxed(&slot->state) == from; /* relaxed: under the lock */
    if (same) {
        hk_store_relaxed(&slot->state, to);
    }
    hk_lock_release(&guard.lock, HK_RANK_GUARD);
    return same;
}

/* Opens the slot's pages, so that the limits count them. */
static bool open_pages(slot_t *slot, size_t bytes)
{
    if (!hk_limit_charge(bytes)) {
        return false;
    }
    if (!hk_wall_open(pages_of(slot), bytes)) {
        hk_limit_uncharge(bytes);
        return false;
    }
    hk_add_relaxed(&guard.used_bytes, bytes); /* relaxed: a statistic */
    return true;
}

/* Forbids access to them; false if the kernel refuses: then they stay resident, and counted. */
static bool seal_pages(slot_t *slot)
{
    bool sealed = hk_wall_seal(pages_of(slot), slot->open_bytes);
    if (sealed) {
        hk_limit_uncharge(slot->open_bytes);
        hk_sub_relaxed(&guard.used_bytes, slot->open_bytes); /* relaxed: a statistic */
    }
    return sealed;
}

void *hk_guard_allocate(size_t size, size_t alignment)
{
    size_t page = hk_os_page_bytes();
    size_t open_bytes = hk_align_up(size + (size == 0), page);
    alignment = alignment < 16 ? 16 : alignment;
    if (open_bytes > guard.slot_bytes - page || alignment > page) {
        return NULL;
    }
    slot_t *slot = take_slot();
    if (slot == NULL) {
        return NULL;
    }
    char *pages = pages_of(slot);
    if (!open_pages(slot, open_bytes)) {
        return_slot(slot, UNUSED);
        return NULL;
    }
    take_trace(&slot->allocated);
    slot->at_end = guard.strict || (draw() & 1) != 0;
    slot->size = size;
    slot->open_bytes = open_bytes;
    slot->block = slot->at_end ? pages + ((open_bytes - size) & ~(alignment - 1)) : pages;
    hk_canary_fill(pages, (size_t)(slot->block - pages));
    hk_canary_fill(slot->block + size, (size_t)(pages + open_bytes - slot->block) - size);
    (void)change_state(slot, CHANGING, LIVE);
    return slot->block;
}

/* ---- Reports ---- */

static void print_traces(const slot_t *slot)
{
    if (!guard.stacks) {
        return;
    }
    hk_trace_print(&slot->allocated, "allocated");
    if (state_of(slot) == FREED) {
        hk_trace_print(&slot->freed, "freed");
    }
}

/* "hakmem: <what> of <address>: <detail><distance> <where> the block of <size> bytes at <block>
 * (thread <n>)" */
static void print_headline(const slot_t *slot, const char *what, const void *address,
                           const char *detail)
{
    const char *at = address;
    hk_trace_t now;
    hk_line_t line = {0};
    take_trace(&now);
    hk_line_misuse(&line, what, address, detail);
    hk_line_text(&line, " ");
    bool before = at < slot->block;
    bool behind = !before && (size_t)(at - slot->block) >= slot->size;
    size_t distance = before   ? (size_t)(slot->block - at)
                      : behind ? (size_t)(at - slot->block) - slot->size
                               : (size_t)(at - slot->block);
    hk_line_number(&line, distance);
    hk_line_text(&line, before ? " bytes before" : behind ? " bytes behind" : " bytes into");
    hk_line_text(&line, " the block of ");
    hk_line_number(&line, slot->size);
    hk_line_text(&line, " bytes at ");
    hk_line_address(&line, slot->block);
    hk_line_text(&line, " (thread ");
    hk_line_number(&line, now.thread);
    hk_line_text(&line, ")\n");
    (void)hk_log_write(STDERR_FILENO, line.text, line.length);
    if (guard.stacks) {
        hk_trace_print(&now, "done");
    }
}

static HK_COLD _Noreturn void reject(const slot_t *slot, const char *what, const void *address,
                                     const char *detail)
{
    print_headline(slot, what, address, detail);
    print_traces(slot);
    abort();
}

/* The slot whose block an access went past.  On the page between two slots it is the one before, if
 * that is open up to its end. */
static const slot_t *slot_passed(const char *address)
{
    const slot_t *slot = slot_at(address);
    size_t offset = (size_t)(address - guard.base) % guard.slot_bytes;
    if (offset >= hk_os_page_bytes() || slot == guard.slots) {
        return slot;
    }
    bool whole = slot[-1].open_bytes == guard.slot_bytes - hk_os_page_bytes();
    return whole && state_of(slot - 1) != UNUSED ? slot - 1 : slot;
}

bool hk_guard_explain(const void *address, const char *access)
{
    const slot_t *slot = slot_passed(address);
    if (state_of(slot) == UNUSED) {
        return false;
    }
    const char *at = address;
    const char *what = state_of(slot) == FREED                    ? "use after free"
                       : at < slot->block                         ? "underflow"
                       : (size_t)(at - slot->block) >= slot->size ? "overflow"
                                                                  : "use after free";
    print_headline(slot, what, address, access);
    print_traces(slot);
    return true;
}

/* ---- Live blocks ---- */

static void check_sides(const slot_t *slot, const char *behind, const char *before)
{
    const char *pages = pages_of(slot);
    const char *end = slot->block + slot->size;
    if (!hk_canary_is_filled(end, (size_t)(pages + slot->open_bytes - end))) {
        reject(slot, "overflow", slot->block, behind);
    }
    if (!hk_canary_is_filled(pages, (size_t)(slot->block - pages))) {
        reject(slot, "underflow", slot->block, before);
    }
}

static slot_t *find_live(const void *block, const char *what, const char *what_if_freed)
{
    slot_t *slot = slot_at(block);
    if (state_of(slot) == UNUSED) {
        hk_log_fatal(what, block, "no block was ever allocated there");
    }
    if (slot->block != block) {
        reject(slot, what, block, "an interior pointer,");
    }
    if (state_of(slot) != LIVE) {
        reject(slot, what_if_freed, block, "the block is free already,");
    }
    return slot;
}

void hk_guard_free(void *block)
{
    slot_t *slot = find_live(block, "invalid free", "double free");
    if (!change_state(slot, LIVE, CHANGING)) {
        reject(slot, "double free", block, "another thread freed it at the same time,");
    }
    check_sides(slot, "written to behind its end, found by its free,",
                "written to before its start, found by its free,");
    take_trace(&slot->freed);
    if (seal_pages(slot)) {
        return_slot(slot, FREED);
    } else {
        (void)change_state(slot, CHANGING, FREED); /* it cannot be used again */
    }
}

size_t hk_guard_usable_bytes(const void *block, const char *what)
{
    return find_live(block, what, what)->size;
}

void hk_guard_shrink(void *block, size_t size)
{
    slot_t *slot = slot_at(block);
    char *end = slot->block + size;
    slot->size = size;
    hk_canary_fill(end, (size_t)(pages_of(slot) + slot->open_bytes - end));
}

void hk_guard_inspect(void)
{
    for (size_t i = 0; guard.base != NULL && i < SLOTS - 1; i++) {
        if (state_of(&guard.slots[i]) == LIVE) {
            check_sides(&guard.slots[i], "written to behind its end, found at the process's end,",
                        "written to before its start, found at the process's end,");
        }
    }
}

size_t hk_guard_used_bytes(void)
{
    return hk_load_relaxed(&guard.used_bytes); /* relaxed: a statistic */
}

void hk_guard_each_range(void (*visit)(const void *address, size_t bytes, void *context),
                         void *context)
{
    if (guard.base != NULL) {
        visit(guard.base, SLOTS * guard.slot_bytes, context);
    }
}

void hk_guard_reset_lock(void)
{
    hk_lock_reset(&guard.lock);
}
