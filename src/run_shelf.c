/*
 * run_shelf: see run_shelf.h.
 */
#include "run_shelf.h"

#include <string.h>

#include "limit.h"
#include "os.h"
#include "reject.h"

static_assert(HK_RUN_SHELF_SLOTS == 16, "a bit for each slot in a lane of its own");

enum {
    USES_BEFORE_GRANT = 32, /* runs that are used seldom had better serve all threads */
    RUN_SHARE = 4,          /* of the grant: to fill a larger block takes longer than malloc does */
    USES_IF_USELESS = 2048,
    PUTS_TO_JUDGE = 64,
    WANTED_HITS_SHIFT = 1, /* half: less does not pay for the rest */
    HITS_BEFORE_SLOW = 64, /* memory goes back by steps, which slow paths take */
    ALL_SLOTS = (1 << HK_RUN_SHELF_SLOTS) - 1,
};

static _Atomic size_t granted_bytes; /* atomic: of all shelves */
static _Atomic uint32_t last_id;     /* atomic */

/* ---- In and out ---- */

/* Ends the process if the run is not this shelf's: one that two threads freed at the same moment
 * lies on two shelves, or on a shelf and in an area's bins. */
static void check_is_ours(const hk_run_shelf_t *shelf, const hk_run_t *run)
{
    const hk_run_area_t *area = run->area;
    size_t page = hk_run_area_first(run);
    /* relaxed: the thread's own, unless it was freed twice */
    if (HK_UNLIKELY(hk_load_relaxed(&run->shelf) != shelf->id ||
                    !hk_run_area_is_block(area, page))) {
        hk_reject_block("double free", area->base + (page << area->page_shift),
                        "freed by another thread, and free already");
    }
}

/* The slot is emptied before the run becomes anything else, because a signal handler may end the
 * thread's work at any point. */
static hk_run_t *take_slot(hk_run_shelf_t *shelf, unsigned slot)
{
    hk_run_t *run = shelf->run[slot];
    shelf->filled_pages -= shelf->pages[slot];
    shelf->pages[slot] = 0;
    hk_fence_signal();
    shelf->filled &= ~(1u << slot);
    check_is_ours(shelf, run);
    hk_store_relaxed(&run->shelf, 0); /* relaxed: as above */
    return run;
}

typedef uint16_t lanes_t __attribute__((vector_size(2 * HK_RUN_SHELF_SLOTS)));
typedef uint64_t words_t __attribute__((vector_size(2 * HK_RUN_SHELF_SLOTS)));

/* The slots whose runs have the pages, or at most `more` beyond them, a bit for each.  Sizes come
 * by chance, so branches would be predicted badly: all slots are compared at once. */
static uint32_t find_fitting(const hk_run_shelf_t *shelf, size_t pages, size_t more)
{
    static const lanes_t slot_bits = {1,       1 << 1,  1 << 2,  1 << 3, 1 << 4,  1 << 5,
                                      1 << 6,  1 << 7,  1 << 8,  1 << 9, 1 << 10, 1 << 11,
                                      1 << 12, 1 << 13, 1 << 14, 1 << 15};
    lanes_t surplus;
    memcpy(&surplus, shelf->pages, sizeof surplus);
    surplus -= (uint16_t)pages; /* wraps to more than any grant where the run is too small */
    words_t bits = (words_t)((lanes_t)(surplus <= (uint16_t)more) & slot_bits);
    uint64_t word = bits[0] | bits[1] | bits[2] | bits[3];
    word |= word >> 32;
    return (uint32_t)(word | word >> 16) & ALL_SLOTS;
}

hk_run_t *hk_run_shelf_take(hk_run_shelf_t *shelf, size_t bytes)
{
    size_t pages = (bytes + (1u << shelf->page_shift) - 1) >> shelf->page_shift;
    if (shelf->filled == 0 || pages > shelf->granted_pages / RUN_SHARE) {
        return NULL;
    }
    uint32_t fitting = find_fitting(shelf, pages, 0);
    if (fitting == 0) {
        fitting = find_fitting(shelf, pages, hk_policy_shelf_waste_pages(pages));
    }
    if (fitting == 0 || ++shelf->hits % HITS_BEFORE_SLOW == 0) {
        return NULL;
    }
    return take_slot(shelf, (unsigned)__builtin_ctz(fitting));
}

/* The first filled slot (the first empty one if flip is all ones), in turn from the slot after the
 * newest. */
static unsigned oldest_slot(const hk_run_shelf_t *shelf, uint32_t flip)
{
    uint32_t bits = (shelf->filled ^ flip) & ALL_SLOTS;
    unsigned start = (shelf->newest + 1) % HK_RUN_SHELF_SLOTS;
    uint32_t turned = bits >> start | bits << (HK_RUN_SHELF_SLOTS - start);
    return (start + (unsigned)__builtin_ctz(turned)) % HK_RUN_SHELF_SLOTS;
}

bool hk_run_shelf_put(hk_run_shelf_t *shelf, hk_run_t *run)
{
    size_t pages = hk_run_area_pages(run);
    if (shelf->filled_pages + pages > shelf->granted_pages || shelf->filled == ALL_SLOTS ||
        pages > shelf->granted_pages / RUN_SHARE) {
        return false;
    }
    unsigned slot = oldest_slot(shelf, ALL_SLOTS);
    hk_store_relaxed(&run->shelf, shelf->id); /* relaxed: as above */
    shelf->run[slot] = run;
    hk_fence_signal();
    shelf->pages[slot] = (uint16_t)pages;
    shelf->filled |= 1u << slot;
    shelf->filled_pages += (uint32_t)pages;
    shelf->newest = slot;
    shelf->puts++;
    return true;
}

/* ---- Back to the areas ---- */

/* Locks the part, and unlocks the one that was locked before, if there was one (else NULL). */
static hk_runs_t *relock(hk_runs_t *locked, hk_runs_t *part)
{
    if (part != locked) {
        if (locked != NULL) {
            hk_lock_release(&locked->lock, HK_RANK_RUNS);
        }
        hk_lock_acquire(&part->lock, HK_RANK_RUNS);
    }
    return part;
}

/* Frees runs, roughly the oldest first, until so many pages are left. */
static void empty_to(hk_run_shelf_t *shelf, size_t pages)
{
    if (shelf->filled == 0) {
        return;
    }
    hk_runs_t *locked = NULL;
    while (shelf->filled != 0 && (pages == 0 || shelf->filled_pages > pages)) {
        unsigned slot = oldest_slot(shelf, 0);
        locked = relock(locked, shelf->run[slot]->area->part);
        hk_run_area_free_locked(take_slot(shelf, slot));
    }
    if (locked != NULL) {
        hk_lock_release(&locked->lock, HK_RANK_RUNS);
    }
}

void hk_run_shelf_empty(hk_run_shelf_t *shelf)
{
    empty_to(shelf, 0);
}

/* ---- Grants ---- */

static void grant(hk_run_shelf_t *shelf)
{
    size_t bytes = HK_SHELF_BYTES;
    shelf->uses = shelf->puts = shelf->hits = 0;
    /* relaxed: a sum, and nothing hangs on it */
    size_t most = hk_policy_shelves_bytes(hk_limit_committed_bytes(), hk_limit_get(HK_LIMIT_HARD));
    if (hk_add_relaxed(&granted_bytes, bytes) + bytes > most) {
        hk_sub_relaxed(&granted_bytes, bytes);
        return;
    }
    if (shelf->id == 0) {
        shelf->id = hk_add_relaxed(&last_id, 1) + 1; /* relaxed: a number that nobody else has */
    }
    shelf->epoch_ms = hk_os_clock_ms();
    shelf->page_shift = (uint32_t)__builtin_ctzl(hk_os_page_bytes());
    shelf->granted_pages = (uint32_t)(bytes >> shelf->page_shift);
}

static bool is_useless(const hk_run_shelf_t *shelf)
{
    return shelf->puts >= PUTS_TO_JUDGE && shelf->hits < shelf->puts >> WANTED_HITS_SHIFT;
}

void hk_run_shelf_note_free(hk_run_shelf_t *shelf)
{
    uint32_t wanted = shelf->was_useless ? USES_IF_USELESS : USES_BEFORE_GRANT;
    if (shelf->granted_pages == 0) {
        if (++shelf->uses >= wanted) {
            grant(shelf);
        }
    } else if (is_useless(shelf)) {
        hk_run_shelf_end(shelf);
    } else {
        empty_to(shelf, shelf->granted_pages / 2);
    }
}

void hk_run_shelf_end(hk_run_shelf_t *shelf)
{
    hk_run_shelf_empty(shelf);
    if (shelf->granted_pages != 0) {
        hk_sub_relaxed(&granted_bytes, (size_t)HK_SHELF_BYTES); /* relaxed: as above */
        shelf->was_useless = is_useless(shelf);
    }
    shelf->granted_pages = shelf->filled_pages = 0;
    shelf->uses = 0;
}

void hk_run_shelf_reset(const hk_run_shelf_t *shelf)
{
    bool granted = shelf != NULL && shelf->granted_pages != 0;
    hk_store_relaxed(&granted_bytes, granted ? (size_t)HK_SHELF_BYTES : 0); /* relaxed: alone */
}
