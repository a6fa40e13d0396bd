/*
 * large: see large.h.
 */
#include "large.h"

#include "limit.h"
#include "list.h"
#include "lock.h"
#include "meta.h"
#include "options.h"
#include "os.h"
#include "policy.h"

enum {
    KEPT_MAX = 64,
    KEPT_WASTE_SHARE = 3, /* a kept mapping of up to 4/3 of the bytes serves uncut, */
    GROWING_SHARE = 2,    /* and for a block that grows one of up to twice the bytes */
};

static struct {
    hk_lock_t lock;
    unsigned count;              /* lock(large) */
    size_t kept_bytes;           /* lock(large) */
    size_t missed_bytes;         /* lock(large): the last one that was too much to keep, */
    size_t missed_most;          /* lock(large): how much would have had to be kept for it, */
    uint64_t missed_ms;          /* lock(large): and when that was */
    size_t again_most;           /* lock(large): kept since one was missed; 0: as policy has it */
    hk_large_t *kept[KEPT_MAX];  /* lock(large) */
    hk_large_t *used;            /* lock(large): all in use */
    _Atomic size_t used_bytes;   /* atomic: a statistic */
    _Atomic size_t purged_bytes; /* atomic: a statistic */
    _Atomic size_t rest_bytes;   /* atomic: mapped behind what holders may use; relaxed: a sum */
} mappings;

/* Known to its holder alone; what was kept leaves by unmap_leaving. */
static void unmap_large(hk_large_t *large)
{
    hk_os_unmap(large->address, large->bytes);
    hk_limit_uncharge(large->bytes);
    hk_large_add_purged(large->bytes);
    hk_meta_free(HK_META_LARGE, large);
}

static void unmap_leaving(hk_large_t *large)
{
    unmap_large(large);
    hk_limit_end_leaving();
}

static hk_large_t *remove_kept_locked(unsigned at)
{
    hk_large_t *large = mappings.kept[at];
    mappings.kept[at] = mappings.kept[--mappings.count];
    mappings.kept_bytes -= large->bytes;
    return large;
}

/* False if too much is kept already. */
static bool keep_locked(hk_large_t *large)
{
    size_t most = hk_policy_large_kept_bytes(hk_large_used_bytes());
    most = most < mappings.again_most ? mappings.again_most : most;
    size_t kept_bytes = mappings.kept_bytes + large->bytes;
    if (kept_bytes > most && kept_bytes <= HK_LARGE_AGAIN_MAX) {
        mappings.missed_bytes = large->bytes;
        mappings.missed_most = kept_bytes;
        mappings.missed_ms = large->freed_ms;
    }
    if (mappings.count == KEPT_MAX || kept_bytes > most) {
        return false;
    }
    mappings.kept[mappings.count++] = large;
    mappings.kept_bytes += large->bytes;
    return true;
}

/* A program that frees its scratch memory, and takes as much at once, would fault in all of it each
 * time.  If what it takes was not kept just now, as much is kept from now on, until a kept mapping
 * has been in vain. */
static void learn_locked(size_t bytes, uint64_t now_ms)
{
    size_t missed = mappings.missed_bytes;
    bool alike =
        bytes <= missed + missed / KEPT_WASTE_SHARE && missed <= bytes + bytes / KEPT_WASTE_SHARE;
    bool limited = hk_limit_get(HK_LIMIT_HARD) != 0; /* then each allocation near it would drain */
    if (alike && !limited && hk_ms_since(mappings.missed_ms, now_ms) <= hk_options.decay) {
        size_t most = mappings.missed_most + mappings.missed_most / KEPT_WASTE_SHARE;
        mappings.again_most = hk_least(most, HK_LARGE_AGAIN_MAX);
    }
}

/* A small block may be aligned to more than 2 MiB.  A mapping is not cut for it; nor extended,
 * since it might move to a multiple of 2 MiB. */
static bool suits(const hk_large_t *kept, size_t bytes, size_t most, size_t alignment)
{
    return alignment <= HK_SUPERSLAB_BYTES || (kept->bytes >= bytes && kept->bytes <= most &&
                                               ((uintptr_t)kept->address & (alignment - 1)) == 0);
}

static bool is_better(size_t candidate, size_t incumbent, size_t bytes)
{
    return candidate >= bytes ? incumbent < bytes || candidate < incumbent
                              : incumbent < bytes && candidate > incumbent;
}

/* The kept mapping to make a block of bytes from, which may be used as it is up to most: the
 * smallest that is large enough, else the largest.  No longer kept, but leaving until that is done;
 * NULL if there is none. */
static hk_large_t *take_kept(size_t bytes, size_t most, size_t alignment)
{
    hk_large_t *found = NULL;
    uint64_t now_ms = hk_os_clock_ms();
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    learn_locked(bytes, now_ms);
    unsigned best = KEPT_MAX;
    for (unsigned i = 0; i < mappings.count; i++) {
        const hk_large_t *kept = mappings.kept[i];
        if (suits(kept, bytes, most, alignment) &&
            (best == KEPT_MAX || is_better(kept->bytes, mappings.kept[best]->bytes, bytes))) {
            best = i;
        }
    }
    if (best != KEPT_MAX) {
        found = remove_kept_locked(best);
        hk_limit_begin_leaving();
    }
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
    return found;
}

/* Where the oldest kept mapping is that was freed at or before the time; KEPT_MAX if there is
 * none. */
static unsigned find_oldest_locked(uint64_t until_ms)
{
    unsigned oldest = KEPT_MAX;
    for (unsigned i = 0; i < mappings.count; i++) {
        if (mappings.kept[i]->freed_ms <= until_ms &&
            (oldest == KEPT_MAX || mappings.kept[i]->freed_ms < mappings.kept[oldest]->freed_ms)) {
            oldest = i;
        }
    }
    return oldest;
}

static hk_large_t *map_large(size_t bytes, size_t alignment)
{
    hk_large_t *large = hk_meta_allocate(HK_META_LARGE, sizeof *large);
    if (large == NULL) {
        return NULL;
    }
    char *address = hk_limit_map(bytes, alignment);
    if (address == NULL) {
        hk_meta_free(HK_META_LARGE, large);
        return NULL;
    }
    *large = (hk_large_t){
        .region = {HK_REGION_LARGE}, .fresh = true, .address = address, .bytes = bytes};
    return large;
}

/* Makes a mapping that nobody holds bytes long. */
static bool fit_mapping(hk_large_t *large, size_t bytes)
{
    if (bytes < large->bytes) {
        hk_os_unmap(large->address + bytes, large->bytes - bytes);
    }
    if (bytes > large->bytes && !hk_os_resize(large->address, large->bytes, bytes)) {
        char *target = hk_os_reserve(bytes, HK_SUPERSLAB_BYTES);
        if (target == NULL) {
            return false;
        }
        if (!hk_os_move_to(large->address, large->bytes, target, bytes)) {
            return false;
        }
        large->address = target;
    }
    large->bytes = bytes;
    return true;
}

/* Resizes by calling resize, so that the limit counts it: growth is charged first, and afterwards
 * corrected to what it came to. */
static bool resize_counted(hk_large_t *large, size_t bytes, bool (*resize)(hk_large_t *, size_t))
{
    size_t old_bytes = large->bytes;
    size_t growth = hk_above(bytes, old_bytes);
    if (!hk_limit_charge(growth)) {
        return false;
    }
    bool done = resize(large, bytes);
    hk_limit_uncharge(old_bytes + growth - large->bytes);
    hk_large_add_purged(hk_above(old_bytes, large->bytes));
    return done;
}

/* The mapping stays in the list, so that others find the rest of it meanwhile. */
size_t hk_large_cut_kept(uint64_t until_ms, size_t bytes)
{
    char *tail = NULL;
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    unsigned at = find_oldest_locked(until_ms);
    hk_large_t *large = at != KEPT_MAX ? mappings.kept[at] : NULL;
    bytes = hk_align_up(bytes, hk_os_page_bytes());
    bool whole = large != NULL && bytes >= large->bytes;
    if (whole) {
        (void)remove_kept_locked(at);
    } else if (large != NULL) {
        large->bytes -= bytes;
        mappings.kept_bytes -= bytes;
        tail = large->address + large->bytes;
    }
    if (large != NULL) {
        mappings.again_most = 0;
        hk_limit_begin_leaving();
    }
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
    if (whole) {
        bytes = large->bytes;
        unmap_leaving(large);
    } else if (tail != NULL) {
        hk_os_unmap(tail, bytes);
        hk_limit_uncharge(bytes);
        hk_large_add_purged(bytes);
        hk_limit_end_leaving();
    }
    return large != NULL ? bytes : 0;
}

size_t hk_large_drain(void)
{
    size_t bytes = 0;
    size_t more = 1;
    for (unsigned i = 0; i < KEPT_MAX && more > 0; i++) {
        more = hk_large_cut_kept(UINT64_MAX, PTRDIFF_MAX);
        bytes += more;
    }
    return bytes;
}

/* A kept mapping of bytes or more, up to most; or any other, made to fit. */
static hk_large_t *reuse_kept(size_t bytes, size_t most, size_t alignment)
{
    hk_large_t *large = take_kept(bytes, most, alignment);
    if (large == NULL) {
        return NULL;
    }
    bool serves_whole = large->bytes >= bytes && large->bytes <= most;
    if (!serves_whole && !resize_counted(large, bytes, fit_mapping)) {
        unmap_leaving(large);
        return NULL;
    }
    hk_limit_end_leaving();
    return large;
}

void hk_large_enter_used(hk_large_t *large)
{
    hk_large_add_used(large->bytes);
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    HK_LIST_PUSH(mappings.used, large, used_next, used_prev);
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
}

void hk_large_leave_used(hk_large_t *large)
{
    hk_large_add_used(-large->bytes);
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    HK_LIST_REMOVE(mappings.used, large, used_next, used_prev);
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
}

/* Hands out a mapping that nobody holds. */
static hk_large_t *hand_out(hk_large_t *large, size_t size)
{
    if (large == NULL) {
        return NULL;
    }
    large->size = size;
    if (!hk_registry_insert(large->address, &large->region)) {
        unmap_large(large);
        return NULL;
    }
    hk_add_relaxed(&mappings.rest_bytes, large->bytes - size);
    hk_large_enter_used(large);
    return large;
}

hk_large_t *hk_large_allocate(size_t bytes, size_t alignment)
{
    bytes = hk_align_up(bytes, hk_os_page_bytes());
    alignment = alignment < HK_SUPERSLAB_BYTES ? (size_t)HK_SUPERSLAB_BYTES : alignment;
    hk_large_t *large = reuse_kept(bytes, bytes + bytes / KEPT_WASTE_SHARE, alignment);
    large = large != NULL ? large : map_large(bytes, alignment);
    return hand_out(large, large != NULL ? large->bytes : 0);
}

/* How large a kept mapping may be that a growing block gets uncut.  Nobody else can use its rest:
 * neither trim nor the limit gets it back. */
static size_t most_uncut(size_t bytes)
{
    bool limited = hk_limit_get(HK_LIMIT_HARD) != 0;
    size_t all = hk_policy_rest_bytes(hk_limit_committed_bytes(), limited);
    size_t rest = hk_load_relaxed(&mappings.rest_bytes);
    size_t room = hk_above(all, rest);
    size_t most = (GROWING_SHARE - 1) * bytes;
    return bytes + hk_least(room, most);
}

hk_large_t *hk_large_allocate_growing(size_t bytes)
{
    bytes = hk_align_up(bytes, hk_os_page_bytes());
    hk_large_t *large = reuse_kept(bytes, most_uncut(bytes), HK_SUPERSLAB_BYTES);
    return hand_out(large != NULL ? large : map_large(bytes, HK_SUPERSLAB_BYTES), bytes);
}

void hk_large_free(hk_large_t *large)
{
    hk_sub_relaxed(&mappings.rest_bytes, large->bytes - large->size);
    hk_sub_relaxed(&mappings.used_bytes, large->bytes); /* relaxed: a statistic */
    large->fresh = false;
    large->freed_ms = hk_os_clock_ms();
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    HK_LIST_REMOVE(mappings.used, large, used_next, used_prev);
    bool kept = keep_locked(large);
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
    if (!kept) {
        unmap_large(large);
    }
}

static bool resize_used(hk_large_t *large, size_t bytes)
{
    size_t old_bytes = large->bytes;
    char *old = large->address;
    if (bytes < old_bytes) {
        hk_os_unmap(old + bytes, old_bytes - bytes);
    } else if (bytes > old_bytes && !hk_os_resize(old, old_bytes, bytes)) {
        /* The registry must have a leaf for the new place before the pages leave the old one: there
         * is no way back.  The place is reserved by a mapping of its own, which the move
         * replaces. */
        char *target = hk_os_reserve(bytes, HK_SUPERSLAB_BYTES);
        if (target == NULL) {
            return false;
        }
        if (!hk_registry_insert(target, &large->region)) {
            hk_os_unmap(target, bytes);
            return false;
        }
        /* Neither place is in the registry during the move: the old one after it, or the new one if
         * it fails, may be another mapping's. */
        hk_registry_remove(target);
        hk_registry_remove(old);
        bool moved = hk_os_move_to(old, old_bytes, target, bytes);
        (void)hk_registry_insert(moved ? target : old, &large->region); /* both leaves are there */
        if (!moved) {
            return false;
        }
        large->address = target;
    }
    large->bytes = bytes;
    hk_add_relaxed(&mappings.used_bytes,
                   bytes - old_bytes); /* relaxed: a statistic; wraps as it should */
    return true;
}

bool hk_large_resize(hk_large_t *large, size_t bytes)
{
    bytes = hk_align_up(bytes, hk_os_page_bytes());
    size_t rest = large->bytes - large->size;
    bool within = bytes > large->size && bytes <= large->bytes;
    if (!within && !resize_counted(large, bytes, resize_used)) {
        return false;
    }
    large->size = bytes;
    hk_sub_relaxed(&mappings.rest_bytes, rest - (large->bytes - bytes)); /* wraps as it should */
    return true;
}

void hk_large_add_used(size_t bytes)
{
    hk_add_relaxed(&mappings.used_bytes, bytes); /* relaxed: a statistic */
}

void hk_large_add_purged(size_t bytes)
{
    hk_add_relaxed(&mappings.purged_bytes, bytes); /* relaxed: a statistic */
}

size_t hk_large_purged_bytes(void)
{
    return hk_load_relaxed(&mappings.purged_bytes); /* relaxed: a statistic */
}

size_t hk_large_used_bytes(void)
{
    return hk_load_relaxed(&mappings.used_bytes); /* relaxed: a statistic */
}

size_t hk_large_kept_bytes(void)
{
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    size_t bytes = mappings.kept_bytes;
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
    return bytes;
}

void hk_large_each_used(void (*visit)(const hk_large_t *large, void *context), void *context)
{
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    for (const hk_large_t *large = mappings.used; large != NULL; large = large->used_next) {
        visit(large, context);
    }
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
}

void hk_large_each_kept(void (*visit)(const void *address, size_t bytes, void *context),
                        void *context)
{
    hk_lock_acquire(&mappings.lock, HK_RANK_LARGE);
    for (unsigned i = 0; i < mappings.count; i++) {
        visit(mappings.kept[i]->address, mappings.kept[i]->bytes, context);
    }
    hk_lock_release(&mappings.lock, HK_RANK_LARGE);
}

void hk_large_reset_lock(void)
{
    hk_lock_reset(&mappings.lock);
}
