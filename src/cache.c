/*
 * cache: the slow paths.  See cache.h.
 */
#define _GNU_SOURCE
#include "cache.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "log.h"
#include "meta.h"
#include "os.h"
#include "refuge.h"
#include "span.h"

enum {
    OPERATIONS_PER_MAINTAIN = 16, /* slow paths between two looks at the pool */
    OPERATIONS_PER_DECAY = 256,   /* slow paths between two helping hands for another heap */
    LARGE_KEEP_MS = 1000,         /* how long a freed direct mapping is kept */
    FINISH_BLOCKS = 32768,        /* of each heap, looked through at the end: half a millisecond */
};

/* A magazine without slots: `next` and `sentinel` are NULL. */
static hk_magazine_t no_magazine;

#define NO_TOP (&no_magazine.sentinel)
#define NO_TOPS [0 ... HK_CLASS_COUNT - 1] = NO_TOP

static hk_cache_t empty_cache = {
    .top = {NO_TOPS},
    .limit = {NO_TOPS},
    .tag = (uint64_t)HK_OWNER_NONE << HK_OWNER_SHIFT,
};

HK_TLS hk_cache_t *hk_cache_tls = &empty_cache;

static HK_TLS bool thread_ended; /* owner: the cache is gone for good */
static HK_TLS bool attaching;    /* owner: inside attach */
static hk_cache_t *caches;       /* lock(caches) */
static pthread_key_t end_key;    /* const once end_key_made */
static _Atomic uint32_t end_key_made;

/* ---- Magazines in the cache ---- */

static void set_loaded(hk_cache_t *cache, unsigned class_index, hk_magazine_t *magazine)
{
    unsigned capacity = hk_policy_magazine_blocks(hk_class_info[class_index].block_bytes);
    capacity = capacity < magazine->capacity ? capacity : magazine->capacity;
    capacity = capacity > magazine->count ? capacity
                                          : magazine->count; /* a remote thread's may hold more */
    magazine->next = NULL;                                   /* the fast path reads it as a slot */
    cache->loaded[class_index] = magazine;
    cache->top[class_index] = magazine->slot + magazine->count - 1;
    cache->limit[class_index] = magazine->slot + capacity - 1;
}

/* Takes the loaded magazine out, its count made valid; NULL if there is none. */
static hk_magazine_t *take_loaded(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *magazine = cache->loaded[class_index];
    if (magazine != NULL) {
        magazine->count = (uint16_t)(cache->top[class_index] - &magazine->sentinel);
        cache->loaded[class_index] = NULL;
        cache->top[class_index] = cache->limit[class_index] = NO_TOP;
    }
    return magazine;
}

/* Magazines grow with use: each exchange asks for the next size. */
static unsigned next_kind(hk_cache_t *cache, unsigned class_index)
{
    unsigned most = hk_policy_magazine_kind(hk_class_info[class_index].block_bytes);
    unsigned kind = cache->kind[class_index];
    kind = kind < most ? kind : most;
    cache->kind[class_index] = (uint8_t)(kind + 1);
    return kind;
}

static void *pop(hk_cache_t *cache, unsigned class_index)
{
    void *block = *cache->top[class_index];
    cache->top[class_index]--;
    return block;
}

static void push(hk_cache_t *cache, unsigned class_index, void *block)
{
    *++cache->top[class_index] = block;
}

/* ---- Outgoing blocks ---- */

static void hand_over(hk_cache_t *cache, unsigned slot)
{
    hk_magazine_t *magazine = cache->outgoing[slot];
    hk_heap_t *heap = hk_load_acquire(&hk_heap_table[cache->outgoing_owner[slot]]);
    cache->outgoing[slot] = NULL;
    hk_heap_hand_over(heap, magazine);
}

static void hand_over_all(hk_cache_t *cache)
{
    for (unsigned slot = 0; slot < HK_OUTGOING_SLOTS; slot++) {
        if (cache->outgoing[slot] != NULL) {
            hand_over(cache, slot);
        }
    }
}

/* What slow paths do beside their work, now and then; holds no lock. */
static void help(hk_cache_t *cache)
{
    uint32_t operations = ++cache->operations;
    if (operations % OPERATIONS_PER_MAINTAIN != 0) {
        return;
    }
    uint64_t now = hk_os_clock_ms();
    hk_pool_maintain(&hk_shared_pool, now);
    if (operations % OPERATIONS_PER_DECAY != 0) {
        return;
    }
    hk_heap_t *other = hk_heaps_next_other(cache->heap);
    if (other != NULL) {
        hk_heap_decay(other, now);
    }
    if (now > LARGE_KEEP_MS) {
        (void)hk_large_decay(now - LARGE_KEEP_MS);
    }
    hand_over_all(cache);
}

static void put_direct(void *block)
{
    hk_slab_t *slab = hk_slab_find(block);
    if (slab == NULL || slab->class_index >= HK_CLASS_COUNT) {
        hk_log_fatal("invalid free", block, "no block starts there");
    }
    hk_heap_put_block(slab->heap, slab, block);
}

/* Frees a block of another thread's heap: it leaves with up to 60 others by one atomic operation. */
static void free_remote(hk_cache_t *cache, uint16_t owner, unsigned class_index, void *block)
{
    unsigned slot = owner % HK_OUTGOING_SLOTS;
    if (cache->outgoing[slot] != NULL && cache->outgoing_owner[slot] != owner) {
        hand_over(cache, slot);
    }
    hk_magazine_t *magazine = cache->outgoing[slot];
    if (magazine == NULL) {
        magazine = hk_heap_take_magazine(cache->heap, HK_MAGAZINE_KINDS - 1);
        if (magazine == NULL) {
            put_direct(block);
            return;
        }
        magazine->class_index = (uint16_t)class_index;
        cache->outgoing[slot] = magazine;
        cache->outgoing_owner[slot] = owner;
    }
    if (magazine->count > 0 && magazine->slot[magazine->count - 1] == block) {
        hk_log_fatal("double free", block, "the block is free already");
    }
    magazine->slot[magazine->count++] = block;
    if (magazine->class_index != class_index) {
        magazine->class_index = HK_MAGAZINE_MIXED;
    }
    if (magazine->count == magazine->capacity ||
        magazine->count * hk_class_info[class_index].block_bytes > HK_OUTGOING_BYTES) {
        hand_over(cache, slot);
        help(cache);
    }
}

/* ---- Threads come and go ---- */

static void flush_cache(hk_cache_t *cache)
{
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        hk_magazine_t *loaded = take_loaded(cache, class_index);
        hk_magazine_t *previous = cache->previous[class_index];
        cache->previous[class_index] = NULL;
        if (loaded != NULL) {
            hk_heap_dissolve(cache->heap, loaded);
        }
        if (previous != NULL) {
            hk_heap_dissolve(cache->heap, previous);
        }
    }
    hand_over_all(cache);
}

static void unlink_cache_locked(hk_cache_t *cache)
{
    *(cache->prev != NULL ? &cache->prev->next : &caches) = cache->next;
    if (cache->next != NULL) {
        cache->next->prev = cache->prev;
    }
}

/* pthread's destructor for end_key.  Later calls of this thread, from other destructors, go past all caches. */
static void end_thread(void *argument)
{
    hk_cache_t *cache = argument;
    thread_ended = true;
    while (!hk_gate_enter(
        &cache->busy)) { /* a thread's end may wait for a fork: it holds no lock here */
        hk_os_yield();
    }
    flush_cache(cache);
    /* The busy word goes with the cache: from before it leaves the list, this thread counts as a stranger. */
    hk_add_seq_cst(&hk_gate_strangers.depth, 1);
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    hk_heaps_detach_locked(cache->heap);
    unlink_cache_locked(cache);
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    hk_cache_tls = &empty_cache;
    hk_gate_leave(&cache->busy);
    hk_meta_free(HK_META_CACHE, cache);
    hk_pool_maintain(&hk_shared_pool, hk_os_clock_ms());
    hk_gate_leave_stranger();
}

/* Sees to it that end_thread runs.  The first thread needs no end, and its first malloc calls nothing of pthread. */
static void register_end(hk_cache_t *cache)
{
    if (hk_os_is_main_thread()) {
        return;
    }
    if (hk_load_acquire(&end_key_made) == 0) {
        hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
        if (hk_load_relaxed(&end_key_made) == 0 && pthread_key_create(&end_key, end_thread) == 0) {
            hk_store_release(&end_key_made, 1);
        }
        hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    }
    if (hk_load_relaxed(&end_key_made) != 0) {
        (void)pthread_setspecific(end_key, cache); /* may allocate: the cache is in force already */
    }
}

static hk_cache_t *make_cache(void)
{
    hk_cache_t *cache = hk_meta_allocate(HK_META_CACHE, sizeof *cache);
    if (cache == NULL) {
        return NULL;
    }
    *cache = empty_cache;
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    cache->heap = hk_heaps_attach_locked();
    if (cache->heap != NULL) {
        cache->tag = (uint64_t)cache->heap->owner << HK_OWNER_SHIFT;
        cache->next = caches;
        if (caches != NULL) {
            caches->prev = cache;
        }
        caches = cache;
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    if (cache->heap == NULL) {
        hk_meta_free(HK_META_CACHE, cache);
        return NULL;
    }
    return cache;
}

/* This thread's cache, made if there is none; NULL if there can be none now. */
static hk_cache_t *attach(void)
{
    hk_cache_t *cache = hk_cache_tls;
    if (HK_LIKELY(cache != &empty_cache)) {
        return cache;
    }
    if (thread_ended || attaching || !hk_gate_enter_stranger()) {
        return NULL;
    }
    attaching = true; /* a signal handler that allocates in here gets along without a cache */
    cache = make_cache();
    if (cache != NULL) {
        hk_cache_tls = cache;
    }
    attaching = false;
    if (cache != NULL) {
        register_end(cache);
    }
    hk_gate_leave_stranger();
    return cache;
}

/* Enters the gate, with or without a cache. */
static bool enter(hk_cache_t *cache)
{
    return cache != NULL ? hk_gate_enter(&cache->busy) : hk_gate_enter_stranger();
}

static void leave(hk_cache_t *cache)
{
    if (cache != NULL) {
        hk_gate_leave(&cache->busy);
    } else {
        hk_gate_leave_stranger();
    }
}

bool hk_cache_enter(void)
{
    return enter(attach());
}

void hk_cache_leave(void)
{
    leave(hk_cache_tls != &empty_cache ? hk_cache_tls : NULL);
}

/* ---- malloc ---- */

static void reclaim_visit(hk_heap_t *heap, void *context)
{
    const size_t *limit = context;
    hk_heap_reclaim(heap, *limit);
}

static size_t reclaim_all(hk_cache_t *cache, size_t keep_bytes)
{
    if (cache != NULL) {
        flush_cache(cache);
    }
    size_t limit = SIZE_MAX;
    hk_heaps_each_shared(reclaim_visit, &limit);
    size_t bytes = hk_large_decay(UINT64_MAX);
    return bytes + hk_pool_purge(&hk_shared_pool, (uint32_t)(keep_bytes >> HK_UNIT_SHIFT),
                                 (uint32_t)(keep_bytes >> HK_SUPERSLAB_SHIFT));
}

/* Loads a magazine with at least one block. */
static bool reload(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *previous = cache->previous[class_index];
    hk_magazine_t *empty = take_loaded(cache, class_index);
    if (previous != NULL && previous->count > 0) {
        cache->previous[class_index] = empty;
        set_loaded(cache, class_index, previous);
        return true;
    }
    hk_magazine_t *loaded =
        hk_heap_load(cache->heap, class_index, empty, next_kind(cache, class_index));
    if (loaded == NULL) {
        if (empty != NULL) {
            set_loaded(cache, class_index, empty);
        }
        return false;
    }
    set_loaded(cache, class_index, loaded);
    return true;
}

/* Before a mapping larger than all empty slabs together, those go: the process grows by that much less. */
static void make_way(size_t size)
{
    if (size > HK_SUPERSLAB_BYTES && size >= hk_pool_warm_bytes(&hk_shared_pool)) {
        (void)hk_pool_purge(&hk_shared_pool, 0, 0);
    }
}

static void *allocate_without_cache(unsigned class_index)
{
    hk_heap_t *heap = hk_heaps_any();
    return heap == NULL ? NULL : hk_heap_take_block(heap, class_index);
}

static void *allocate_small(hk_cache_t *cache, unsigned class_index)
{
    if (cache == NULL) {
        return allocate_without_cache(class_index);
    }
    if (!reload(cache, class_index)) {
        (void)reclaim_all(cache, 0);
        if (!reload(cache, class_index)) {
            return NULL;
        }
    }
    void *block = pop(cache, class_index);
    help(cache);
    return block;
}

/* Frees the blocks that were noted while a fork was under way. */
static void replay(void *block)
{
    hk_cache_free(block);
}

void *hk_cache_malloc_slow(unsigned class_index)
{
    void *newest = *hk_cache_tls->top[class_index];
    if (newest != NULL) {
        hk_log_fatal("double free", newest, "the block was freed twice in a row");
    }
    hk_cache_t *cache = attach();
    if (!enter(cache)) {
        return hk_refuge_allocate(hk_class_info[class_index].block_bytes, 16);
    }
    void *block = allocate_small(cache, class_index);
    leave(cache);
    if (hk_refuge_has_deferred()) {
        hk_refuge_replay(replay);
    }
    return block;
}

void *hk_cache_allocate_span(size_t size, size_t alignment, bool *fresh)
{
    hk_cache_t *cache = attach();
    if (!enter(cache)) {
        *fresh = true;
        return hk_refuge_allocate(size, alignment);
    }
    hk_heap_t *heap = cache != NULL ? cache->heap : hk_heaps_any();
    void *block = NULL;
    if (heap != NULL) {
        make_way(size);
        block = hk_span_allocate(heap, size, alignment, fresh);
        if (block == NULL) {
            (void)reclaim_all(cache, 0);
            block = hk_span_allocate(heap, size, alignment, fresh);
        }
    }
    if (cache != NULL) {
        help(cache);
    }
    leave(cache);
    return block;
}

/* ---- free ---- */

/* Makes room for one more block; false if there is no memory for a magazine. */
static bool make_room(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *full = take_loaded(cache, class_index);
    hk_magazine_t *previous = cache->previous[class_index];
    hk_magazine_t *empty = previous;
    if (full == NULL || previous == NULL) {
        empty = hk_heap_take_magazine(cache->heap, next_kind(cache, class_index));
    } else if (previous->count > 0) {
        empty = hk_heap_unload(cache->heap, class_index, previous, next_kind(cache, class_index));
    }
    if (empty == NULL) {
        if (full != NULL) {
            set_loaded(cache, class_index, full);
        }
        return false;
    }
    if (full != NULL) {
        cache->previous[class_index] = full;
    }
    set_loaded(cache, class_index, empty);
    return true;
}

static void free_own(hk_cache_t *cache, unsigned class_index, void *block)
{
    if (*cache->top[class_index] == block) {
        hk_log_fatal("double free", block, "the block is free already");
    }
    if (cache->top[class_index] == cache->limit[class_index]) {
        if (!make_room(cache, class_index)) {
            put_direct(block);
            return;
        }
        help(cache);
    }
    push(cache, class_index, block);
}

static void free_in_slab(hk_cache_t *cache, hk_slab_t *slab, void *block)
{
    if (slab->class_index == HK_CLASS_SPAN) {
        if (block != hk_slab_base(slab)) {
            hk_log_fatal("invalid free", block, "an interior pointer: no block starts there");
        }
        hk_span_free_units(slab);
        if (cache != NULL) {
            help(cache);
        }
    } else if (cache == NULL || slab->heap->owner == HK_OWNER_NONE) {
        hk_heap_put_block(slab->heap, slab, block);
    } else if (slab->heap == cache->heap) {
        free_own(cache, slab->class_index, block);
    } else {
        free_remote(cache, slab->heap->owner, slab->class_index, block);
    }
}

static HK_COLD _Noreturn void reject_foreign(const char *what, const void *block)
{
    hk_log_fatal(what, block, "not a block of this allocator, or already given back");
}

/* Frees by the map; the block is in no magazine yet. */
static void free_by_map(hk_cache_t *cache, void *block)
{
    hk_region_t *region = hk_registry_find(block);
    switch (region == NULL ? 0 : (int)region->kind) {
    case HK_REGION_SUPERSLAB: {
        hk_slab_t *slab = hk_superslab_slab_at((hk_superslab_t *)region, block);
        if (slab->units == 0) {
            hk_log_fatal("invalid free", block,
                         "its slab is empty: a double free, or no block at all");
        }
        free_in_slab(cache, slab, block);
        return;
    }
    case HK_REGION_LARGE: {
        hk_large_t *large = (hk_large_t *)region;
        if (large->address != block) {
            hk_log_fatal("invalid free", block, "an interior pointer: no block starts there");
        }
        hk_span_free_large(large);
        if (cache != NULL) {
            help(cache);
        }
        return;
    }
    case HK_REGION_REFUGE: hk_refuge_free((hk_refuge_t *)region, block); return;
    default: reject_foreign("invalid free", block);
    }
}

void hk_cache_free_slow(void *block)
{
    if (block == NULL) {
        return;
    }
    hk_cache_t *cache = attach();
    if (!enter(cache)) {
        hk_refuge_defer(block);
        return;
    }
    /* A block of a thread's heap says in the near table whose it is; the map need not be asked. */
    uint64_t folded = hk_registry_near((uintptr_t)block) ^ (uintptr_t)block;
    unsigned class_index = (unsigned)(folded >> HK_UNIT_SHIFT) & 0xff;
    uint64_t address_bits = folded >> (HK_UNIT_SHIFT + 8) & 0xffffff;
    uint16_t owner = (uint16_t)(folded >> HK_OWNER_SHIFT);
    if (cache != NULL && address_bits == 0 && class_index < HK_CLASS_COUNT && owner != 0 &&
        (uintptr_t)block >> HK_OWNER_SHIFT == 0) {
        if (owner == cache->heap->owner) {
            free_own(cache, class_index, block);
        } else {
            free_remote(cache, owner, class_index, block);
        }
    } else {
        free_by_map(cache, block);
    }
    leave(cache);
}

/* ---- Blocks in place ---- */

static size_t slab_usable_bytes(const hk_slab_t *slab, const void *block, const char *what)
{
    if (slab->units == 0) {
        reject_foreign(what, block);
    }
    bool interior;
    size_t bytes;
    if (slab->class_index == HK_CLASS_SPAN) {
        interior = block != hk_slab_base(slab);
        bytes = hk_load_relaxed(&slab->span_bytes); /* relaxed: the caller holds the block */
    } else {
        size_t offset = (size_t)((const char *)block - hk_slab_base(slab));
        bytes = hk_class_info[slab->class_index].block_bytes;
        interior = hk_class_block_index(slab->class_index, (uint32_t)offset) * bytes != offset;
    }
    if (interior) {
        hk_log_fatal(what, block, "an interior pointer: no block starts there");
    }
    return bytes;
}

size_t hk_cache_usable_bytes(const void *block, const char *what)
{
    hk_region_t *region = hk_registry_find(block);
    switch (region == NULL ? 0 : (int)region->kind) {
    case HK_REGION_SUPERSLAB:
        return slab_usable_bytes(hk_superslab_slab_at((hk_superslab_t *)region, block), block,
                                 what);
    case HK_REGION_LARGE:
        if (((hk_large_t *)region)->address == block) {
            return ((hk_large_t *)region)->bytes;
        }
        hk_log_fatal(what, block, "an interior pointer: no block starts there");
    case HK_REGION_REFUGE: return hk_refuge_usable_bytes((hk_refuge_t *)region, block);
    default: reject_foreign(what, block);
    }
}

void *hk_cache_resize(void *block, size_t size)
{
    hk_region_t *region = hk_registry_find(block);
    hk_cache_t *cache = attach();
    void *resized = NULL;
    if (!enter(cache)) {
        return NULL;
    }
    if (region->kind == HK_REGION_LARGE) {
        size_t bytes = ((hk_large_t *)region)->bytes;
        make_way(size > bytes ? size - bytes : 0);
        resized = hk_span_resize_large((hk_large_t *)region, size);
    } else if (region->kind == HK_REGION_SUPERSLAB) {
        hk_slab_t *slab = hk_superslab_slab_at((hk_superslab_t *)region, block);
        if (slab->class_index == HK_CLASS_SPAN && hk_span_resize_units(slab, size)) {
            resized = block;
        }
    }
    leave(cache);
    return resized;
}

/* ---- The whole ---- */

size_t hk_cache_trim(size_t keep_bytes)
{
    hk_cache_t *cache = attach();
    size_t bytes = 0;
    if (enter(cache)) {
        bytes = reclaim_all(cache, keep_bytes);
        leave(cache);
    }
    return bytes;
}

void hk_cache_finish(void)
{
    hk_cache_t *cache = hk_cache_tls;
    if (cache != &empty_cache && hk_gate_enter(&cache->busy)) {
        size_t limit = FINISH_BLOCKS;
        flush_cache(cache);
        hk_heaps_each_shared(reclaim_visit, &limit);
        hk_gate_leave(&cache->busy);
    }
}

/* ---- fork ---- */

static bool others_are_busy(void)
{
    bool busy = false;
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    for (const hk_cache_t *cache = caches; cache != NULL && !busy; cache = cache->next) {
        busy = cache != hk_cache_tls && hk_load_seq_cst(&cache->busy.depth) != 0;
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    /* Behind the list: a thread that ends becomes a stranger before it leaves the list. */
    return busy || hk_load_seq_cst(&hk_gate_strangers.depth) != 0;
}

void hk_cache_fork_prepare(void)
{
    /* In a signal handler that came inside a slow path of this very thread: it may hold a lock that others wait for, so the wait must
     * end.  Such a child may exec; it shares the fate of every multi-threaded program that does more there. */
    const hk_cache_t *mine = hk_cache_tls;
    bool inside = hk_load_relaxed(&mine->busy.depth) != 0; /* relaxed: this thread's own */
    hk_gate_close();
    if (inside) {
        return;
    }
    while (others_are_busy()) {
        hk_os_yield();
    }
}

void hk_cache_fork_parent(void)
{
    hk_gate_open();
    if (hk_load_seq_cst(&hk_gate_closed) == 0) {
        hk_refuge_close();
    }
}

void hk_cache_fork_child(void)
{
    hk_cache_t *mine = hk_cache_tls != &empty_cache ? hk_cache_tls : NULL;
    hk_gate_reset();
    hk_meta_reset_lock();
    hk_large_reset_lock();
    hk_heaps_reset(mine != NULL ? mine->heap : NULL);
    hk_refuge_reset();
    /* The other threads' caches, and what lay in them, stay behind: their last writes may be missing in the copy. */
    caches = mine;
    if (mine != NULL) {
        mine->next = mine->prev = NULL;
    }
}
