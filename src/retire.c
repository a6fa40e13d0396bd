/*
 * retire: see retire.h.
 */
#include "retire.h"

#include "canary.h"
#include "limit.h"
#include "lock.h"
#include "meta.h"
#include "options.h"
#include "os.h"
#include "policy.h"
#include "random.h"
#include "reject.h"
#include "wall.h"

enum {
    WAITING_MAX = 256,
    WAITING_LEVEL_1 = 64,
    ROOM_SHARE = 2, /* a block that grows gets room for half as much again */
    SPARES = 16,
    SPARE_SHARE = 2, /* a spare serves down to half of its room */
    USED_MAX = 8192, /* each is three of the 65,530 mappings that a process may have */
};

/* This is address space only: what waits holds no memory.  Without hardening it is no more than an
 * area has, since the program may need address space for other things, say under ulimit -v. */
static const size_t waiting_bytes_hardened = (size_t)4 << 30;
static const size_t waiting_bytes_default = HK_RUN_AREA_BYTES_MAX;
static const size_t spare_bytes_max = (size_t)64 << 20; /* of one */

static struct {
    hk_lock_t lock;
    unsigned count;                   /* lock(retired) */
    size_t bytes;                     /* lock(retired) */
    uint64_t random;                  /* lock(retired): 0 until first used */
    hk_large_t *waiting[WAITING_MAX]; /* lock(retired) */
    unsigned spare_count;             /* lock(retired) */
    hk_large_t *spares[SPARES];       /* lock(retired): sealed; have waited, in no registry */
    _Atomic unsigned used;            /* atomic, relaxed: those in use; a hint */
} retired;

/* Waiting mappings were uncharged when they were sealed. */
static void unmap(hk_large_t *large)
{
    hk_wall_unmap(large->address, large->room);
    hk_meta_free(HK_META_LARGE, large);
}

static char *slack_of(const hk_large_t *large)
{
    return large->address + large->size;
}

static hk_large_t *map_anew(size_t bytes, size_t alignment)
{
    hk_large_t *large = hk_meta_allocate(HK_META_LARGE, sizeof *large);
    if (large == NULL) {
        return NULL;
    }
    large->address = hk_limit_map_walled(bytes, alignment);
    large->room = bytes;
    if (large->address == NULL) {
        hk_meta_free(HK_META_LARGE, large);
        return NULL;
    }
    return large;
}

/* ---- Spares: places that have waited, and serve again: one system call where a new place takes
 * four ---- */

/* The spare with the least room for a block of so many bytes; NULL if none fits. */
static hk_large_t *take_spare(size_t bytes)
{
    unsigned best = SPARES;
    hk_large_t *large = NULL;
    hk_lock_acquire(&retired.lock, HK_RANK_LARGE);
    for (unsigned i = 0; i < retired.spare_count; i++) {
        size_t room = retired.spares[i]->room;
        bool fits = room >= bytes && room / SPARE_SHARE <= bytes;
        if (fits && (best == SPARES || room < retired.spares[best]->room)) {
            best = i;
        }
    }
    if (best != SPARES) {
        large = retired.spares[best];
        retired.spares[best] = retired.spares[--retired.spare_count];
    }
    hk_lock_release(&retired.lock, HK_RANK_LARGE);
    return large;
}

/* Keeps the place of a mapping that has waited.  Returns the mapping that has to go instead, which
 * may be the same one; NULL if there is none. */
static hk_large_t *keep_spare(hk_large_t *large)
{
    hk_large_t *other = NULL;
    if (hk_options.harden == 0 || large->room > spare_bytes_max) {
        return large;
    }
    hk_lock_acquire(&retired.lock, HK_RANK_LARGE);
    if (retired.spare_count < SPARES) {
        retired.spares[retired.spare_count++] = large;
    } else {
        unsigned at = hk_random_below(&retired.random, SPARES);
        other = retired.spares[at];
        retired.spares[at] = large;
    }
    hk_lock_release(&retired.lock, HK_RANK_LARGE);
    return other;
}

static hk_large_t *take_any_spare(void)
{
    hk_lock_acquire(&retired.lock, HK_RANK_LARGE);
    hk_large_t *large = retired.spare_count > 0 ? retired.spares[--retired.spare_count] : NULL;
    hk_lock_release(&retired.lock, HK_RANK_LARGE);
    return large;
}

/* Opens a spare for the block; NULL if none fits, or memory is short. */
static hk_large_t *reuse_spare(size_t bytes, size_t alignment)
{
    hk_large_t *large = alignment <= HK_SUPERSLAB_BYTES ? take_spare(bytes) : NULL;
    if (large == NULL) {
        return NULL;
    }
    bool charged = hk_limit_charge(bytes);
    if (charged && hk_wall_open(large->address, bytes)) {
        return large;
    }
    hk_limit_uncharge(charged ? bytes : 0);
    unmap(large);
    return NULL;
}

bool hk_retire_has_room(void)
{
    return hk_load_relaxed(&retired.used) < USED_MAX;
}

hk_large_t *hk_retire_allocate(size_t size, size_t alignment)
{
    size_t bytes = hk_align_up(size + (size == 0), hk_os_page_bytes());
    alignment = alignment < HK_SUPERSLAB_BYTES ? (size_t)HK_SUPERSLAB_BYTES : alignment;
    hk_large_t *large = reuse_spare(bytes, alignment);
    large = large != NULL ? large : map_anew(bytes, alignment);
    if (large == NULL) {
        return NULL;
    }
    *large = (hk_large_t){.region = {HK_REGION_LARGE},
                          .fresh = true,
                          .walled = true,
                          .exact = hk_options.harden != 0,
                          .address = large->address,
                          .bytes = bytes,
                          .size = size,
                          .room = large->room};
    if (!hk_registry_insert(large->address, &large->region)) {
        hk_limit_uncharge(bytes);
        unmap(large);
        return NULL;
    }
    hk_canary_fill(slack_of(large), bytes - size);
    hk_large_enter_used(large);
    hk_add_relaxed(&retired.used, 1);
    return large;
}

/* ---- The waiting ones ---- */

static hk_large_t *take_random_locked(void)
{
    if (retired.random == 0) {
        retired.random = hk_options.harden != 0 ? hk_random_seed() : 1; /* 1: any order will do */
    }
    unsigned at = hk_random_below(&retired.random, retired.count);
    hk_large_t *large = retired.waiting[at];
    retired.waiting[at] = retired.waiting[--retired.count];
    retired.bytes -= large->room;
    return large;
}

static size_t waiting_bytes_max(void)
{
    return hk_options.harden != 0 ? waiting_bytes_hardened : waiting_bytes_default;
}

/* Takes out a waiting mapping that has to go so that bytes have room; NULL if there is room, or
 * never will be. */
static hk_large_t *make_room(size_t bytes, unsigned most)
{
    hk_large_t *large = NULL;
    size_t bytes_max = waiting_bytes_max();
    hk_lock_acquire(&retired.lock, HK_RANK_LARGE);
    if (retired.count > 0 && bytes <= bytes_max &&
        (retired.count >= most || retired.bytes + bytes > bytes_max)) {
        large = take_random_locked();
    }
    hk_lock_release(&retired.lock, HK_RANK_LARGE);
    return large;
}

static bool add_waiting(hk_large_t *large, unsigned most)
{
    hk_lock_acquire(&retired.lock, HK_RANK_LARGE);
    bool room = retired.count < most && large->room <= waiting_bytes_max();
    if (room) {
        retired.waiting[retired.count++] = large;
        retired.bytes += large->room;
    }
    hk_lock_release(&retired.lock, HK_RANK_LARGE);
    return room;
}

static void unmap_retired(hk_large_t *large)
{
    hk_registry_remove(large->address);
    unmap(large);
}

/* Lets a mapping go that has waited: it leaves the registry, and may become a spare. */
static void release(hk_large_t *large)
{
    hk_registry_remove(large->address);
    hk_large_t *other = keep_spare(large);
    if (other != NULL) {
        unmap(other);
    }
}

static unsigned waiting_most(void)
{
    return hk_options.harden >= 2 ? WAITING_MAX : WAITING_LEVEL_1;
}

static void evict(size_t bytes, unsigned most)
{
    hk_large_t *evicted;
    while ((evicted = make_room(bytes, most)) != NULL) {
        release(evicted);
    }
}

/* ---- Resizing ---- */

static void check_slack(const hk_large_t *large)
{
    if (!hk_canary_is_filled(slack_of(large), large->bytes - large->size)) {
        hk_reject_overflow(large->address, large->size);
    }
}

/* The page behind the new end becomes the wall. */
static bool cut(hk_large_t *large, size_t bytes)
{
    size_t page = hk_os_page_bytes();
    if (!hk_wall_seal(large->address + bytes, page)) {
        return false;
    }
    hk_os_unmap(large->address + bytes + page, large->room - bytes);
    large->room = bytes;
    return true;
}

/* Makes the place that a block's pages have left wait like a freed block, so that late uses fault
 * and nobody else gets it; its walls are still there.  False, and nothing done, if somebody has the
 * place already, or memory is short. */
static bool retire_place(const hk_large_t *moved_from)
{
    hk_large_t *place = hk_meta_allocate(HK_META_LARGE, sizeof *place);
    if (place == NULL) {
        return false;
    }
    *place = (hk_large_t){.region = {HK_REGION_RETIRED},
                          .walled = true,
                          .address = moved_from->address,
                          .bytes = moved_from->bytes,
                          .size = moved_from->size,
                          .room = moved_from->room};
    evict(place->room, waiting_most());
    if (!hk_wall_claim(place->address, place->bytes)) {
        hk_meta_free(HK_META_LARGE, place);
        return false;
    }
    if (!hk_registry_insert(place->address, &place->region)) {
        unmap(place);
        return true;
    }
    if (!add_waiting(place, waiting_most())) {
        unmap_retired(place);
    }
    return true;
}

/* Moves the pages between walls with more room.  As in large.c, the registry has a leaf for the new
 * place before the pages leave the old one, and knows neither place during the move: the old one
 * after it, or the new one if it fails, may be another mapping's. */
static bool move(hk_large_t *large, size_t room)
{
    char *old = large->address;
    char *target = hk_wall_reserve(room, HK_SUPERSLAB_BYTES);
    if (target == NULL) {
        return false;
    }
    if (!hk_registry_insert(target, &large->region)) {
        hk_wall_unmap(target, room);
        return false;
    }
    hk_registry_remove(target);
    hk_registry_remove(old);
    bool moved = hk_os_move_to(old, large->bytes, target, room);
    (void)hk_registry_insert(moved ? target : old, &large->region); /* both leaves are there */
    if (!moved || !retire_place(large)) {
        size_t page = hk_os_page_bytes();
        char *left = moved ? old : target; /* its pages are gone, its walls are not */
        size_t gone = moved ? large->bytes : room;
        hk_os_unmap(left - page, page);
        hk_os_unmap(left + gone, (moved ? large->room - large->bytes : 0) + page);
    }
    if (moved) {
        large->address = target;
        large->room = room;
    }
    return moved;
}

/* A block that grows will grow again.  So it gets more room than it needs, as address space alone,
 * which is opened when the block has grown so far. */
static bool grow(hk_large_t *large, size_t bytes)
{
    if (bytes <= large->room) {
        return hk_wall_open(large->address + large->bytes, bytes - large->bytes);
    }
    size_t room = bytes + hk_align_up(bytes / ROOM_SHARE, hk_os_page_bytes());
    if (!move(large, room) && !move(large, room = bytes)) {
        return false;
    }
    if (room > bytes && !hk_wall_close(large->address + bytes, room - bytes)) {
        hk_os_unmap(large->address + bytes + hk_os_page_bytes(), room - bytes);
        large->room = bytes; /* the page behind it cannot be closed, but stays as its wall */
    }
    return true;
}

void hk_retire_keep(hk_large_t *large, size_t size)
{
    large->size = size;
    large->exact = hk_options.harden != 0;
    hk_canary_fill(slack_of(large), large->bytes - size);
}

bool hk_retire_resize(hk_large_t *large, size_t size)
{
    size_t bytes = hk_align_up(size + (size == 0), hk_os_page_bytes());
    size_t growth = hk_above(bytes, large->bytes);
    check_slack(large);
    if (!hk_limit_charge(growth)) {
        return false;
    }
    if ((bytes < large->bytes && !cut(large, bytes)) || (growth > 0 && !grow(large, bytes))) {
        hk_limit_uncharge(growth);
        return false;
    }
    hk_limit_uncharge(large->bytes + growth - bytes);
    hk_large_add_purged(large->bytes + growth - bytes);
    hk_large_add_used(bytes - large->bytes);
    large->bytes = bytes;
    hk_retire_keep(large, size);
    return true;
}

void hk_retire_free(hk_large_t *large)
{
    unsigned most = waiting_most();
    check_slack(large);
    large->region.kind = HK_REGION_RETIRED;
    (void)hk_registry_insert(large->address, &large->region); /* the leaf is there */
    hk_large_leave_used(large);
    hk_sub_relaxed(&retired.used, 1);
    evict(large->room, most);
    size_t bytes = large->bytes;
    bool sealed = hk_wall_seal(large->address, bytes);
    hk_large_add_purged(bytes);
    if (!sealed) {
        unmap_retired(large);
        hk_limit_uncharge(bytes);
        return;
    }
    hk_limit_uncharge(bytes);
    if (!add_waiting(large, most)) {
        unmap_retired(large);
    }
}

/* No more than can wait: others may free more all the time. */
void hk_retire_drain(void)
{
    hk_large_t *large;
    for (unsigned i = 0; i < WAITING_MAX && (large = make_room(0, 0)) != NULL; i++) {
        unmap_retired(large);
    }
    for (unsigned i = 0; i < WAITING_MAX && (large = take_any_spare()) != NULL; i++) {
        unmap(large);
    }
}

void hk_retire_reset_lock(void)
{
    hk_lock_reset(&retired.lock);
}
