/*
 * cache_decay: what one thread's cache gives back while its thread works.  See cache.h.
 */
#include "cache.h"
#include "options.h"
#include "os.h"
#include "peak.h"

static_assert(HK_PORTIONS_MAX * HK_PORTION_BYTES >= HK_SUPERSLAB_BYTES, "for huge pages");

enum {
    STEP_MS = 8, /* between two steps of one thread */
    LINGER_USES = 1024,
    LINGER_FLUSH_MS = 32,
};

/* Dissolves the magazines of the class first and of those above it. */
static void dissolve_from(hk_cache_t *cache, unsigned first)
{
    for (unsigned class_index = first; class_index < HK_CLASS_COUNT; class_index++) {
        hk_cache_dissolve(cache, class_index);
    }
}

static void flush_magazines(hk_cache_t *cache)
{
    dissolve_from(cache, 0);
    hk_run_shelf_end(&cache->shelf);
    hk_cache_hand_over(cache);
    hk_magazine_t *spare = cache->spare;
    cache->spare = NULL;
    cache->spare_count = 0;
    hk_fence_signal(); /* the heap has them from here on */
    hk_heap_return_inbox(cache->heap, spare);
}

/* Blocks in magazines keep slabs from becoming empty.  So as long as there is much to give back the
 * thread goes without: its next LINGER_USES calls take and free blocks one by one.  A busy thread
 * uses these up between two steps and goes on with magazines. */
static void linger(hk_cache_t *cache, size_t excess, uint64_t now_ms)
{
    bool lingers = cache->linger_uses > 0;
    size_t least = lingers ? (size_t)HK_LINGER_BYTES_MIN : (size_t)HK_LINGER_BYTES;
    bool hurries = hk_options.decay <= HK_HURRY_DECAY_MS;
    cache->linger_uses = hurries && excess >= least ? LINGER_USES : 0;
    if (cache->linger_uses > 0 && now_ms - cache->linger_ms >= LINGER_FLUSH_MS) {
        cache->linger_ms = now_ms;
        flush_magazines(cache);
    }
}

static size_t bytes_from(const hk_cache_t *cache, unsigned first)
{
    size_t bytes = 0;
    for (unsigned class_index = first; class_index < HK_CLASS_COUNT; class_index++) {
        bytes += hk_cache_count(cache, class_index) * hk_class_info[class_index].block_bytes;
    }
    return bytes;
}

/* Before the process grows beyond its peak: dissolves the thread's magazines of larger blocks, few
 * of which make a slab, if they are much for the process. */
static void shed(hk_cache_t *cache)
{
    unsigned first = hk_class_of(HK_SHED_BLOCK_BYTES);
    if (bytes_from(cache, first) > hk_policy_stock_bytes(hk_limit_committed_bytes())) {
        dissolve_from(cache, first);
    }
}

/* Each block that lies in a magazine keeps its slab from all other classes.  So when an epoch ends,
 * by time or by the heap's growth, the magazines of classes without a call since the last one are
 * dissolved, and these classes begin with small magazines again.  A class whose calls happened to
 * end with the same block on top is taken for idle too, and has to load again. */
static void dissolve_idle(hk_cache_t *cache)
{
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        if (cache->loaded[class_index] != NULL &&
            *cache->top[class_index] == cache->epoch_newest[class_index]) {
            hk_cache_dissolve(cache, class_index);
            cache->uses[class_index] = hk_policy_class[class_index].cold_uses;
        }
        cache->epoch_newest[class_index] = *cache->top[class_index];
    }
}

/* An epoch ends by growth only while the heap's slabs are sparse.  Otherwise few slabs are kept in
 * this way, and the blocks of a class that is called seldom would only go to and fro.  The heap has
 * to be larger than when the last one ended: slabs that come back because magazines were dissolved
 * are no growth. */
static void end_epoch(hk_cache_t *cache, uint64_t now_ms)
{
    const hk_heap_t *heap = cache->heap;
    size_t units = hk_heap_units(heap);
    bool grew = units >= cache->epoch_units + HK_EPOCH_UNITS && hk_heap_spread_bytes(heap) > 0;
    bool over = now_ms - cache->epoch_ms >= hk_options.decay;
    if (over) {
        hk_peak_settle();
    }
    if (grew || over) {
        cache->epoch_ms = now_ms;
        cache->epoch_units = units;
        dissolve_idle(cache);
    }
}

/* What threads that have ended left behind may be freed by one that goes on.  It comes back to
 * their heaps then, which are parked, and where nobody would allocate it until a thread begins.  So
 * once this thread's own heap grows it moves to the one that has most of that.  Its blocks stay
 * where they are, and are another heap's from then on. */
static void move_if_growing(hk_cache_t *cache)
{
    hk_heap_t *from = cache->heap;
    size_t units = hk_heap_units(from);
    cache->home_units = hk_least(cache->home_units, units);
    if (units < cache->home_units + HK_MOVE_UNITS || cache->hardened) {
        return;
    }
    cache->home_units = units;
    hk_heap_t *to = hk_heaps_find_roomy();
    if (to == NULL) {
        return;
    }
    flush_magazines(cache);
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    if (hk_heaps_move_locked(from, to)) {
        hk_cache_set_heap(cache, to);
        cache->home_units = cache->epoch_units = hk_heap_units(to);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
}

/* A call has `left` of its portion left over.  If that is less than a unit, there may be more for
 * the next one. */
static void note_given(hk_cache_t *cache, size_t left)
{
    bool more = left < HK_UNIT_BYTES;
    cache->step_bytes = more ? hk_above(cache->step_bytes, cache->portion_bytes) : 0;
}

/* A thread that lingers gives more if it has not come for a while. */
static void begin_step(hk_cache_t *cache, uint64_t now_ms)
{
    cache->portion_bytes = hk_policy_portion_bytes(
        hk_options.huge, cache->linger_uses > 0 ? now_ms - cache->step_ms : 0);
    cache->step_bytes = HK_DECAY_STEP_BYTES;
    cache->step_ms = now_ms;
    hk_store_relaxed(&cache->heap->seen_ms, now_ms); /* relaxed: a hint */
    if (hk_run_shelf_is_over(&cache->shelf, now_ms)) {
        hk_run_shelf_end(&cache->shelf);
    }
    hk_cache_hand_over(cache);
    size_t left = cache->portion_bytes;
    hk_excess_t excess = hk_decay_step(cache->heap, now_ms, &left);
    cache->freed_bytes = 0; /* just looked */
    hk_cache_watch_note(cache, excess, left < cache->portion_bytes, now_ms);
    linger(cache, excess.bytes, now_ms);
    note_given(cache, left);
}

static void go_on(hk_cache_t *cache, uint64_t now_ms)
{
    size_t left = cache->portion_bytes;
    (void)hk_decay_give(now_ms, &left);
    note_given(cache, left);
}

/* A thread may free much between two steps and then take no more slow path.  It is news if much
 * is free but for sparse slabs, which may never go, and what other threads work with. */
static void look_what_is_free(hk_cache_t *cache, uint64_t now_ms)
{
    size_t watch_bytes = hk_policy_watch_bytes(hk_limit_committed_bytes());
    if (cache->freed_bytes >= watch_bytes / HK_FREED_SHARE) {
        cache->freed_bytes = 0;
        hk_excess_t excess = hk_decay_excess(cache->heap, now_ms);
        size_t going = hk_above(excess.bytes - excess.sparse_bytes, excess.busy_idle_bytes);
        hk_cache_watch_note(cache, excess, going >= watch_bytes, now_ms);
    }
}

void hk_cache_help(hk_cache_t *cache, hk_trap_t next)
{
    if (HK_UNLIKELY(hk_peak_is_due())) {
        if (hk_peak_is_new()) {
            shed(cache);
        }
        hk_peak_give();
    }
    uint64_t now = hk_os_clock_ms();
    end_epoch(cache, now);
    bool due = now - cache->step_ms >= STEP_MS;
    if (cache->linger_uses > 0) {
        cache->linger_uses--;
    }
    if (due || (now != cache->step_ms && cache->linger_uses > 0)) {
        begin_step(cache, now);
    } else if (cache->step_bytes > 0) {
        go_on(cache, now);
    }
    if (HK_UNLIKELY(cache->freed_bytes >= HK_LINGER_BYTES / HK_FREED_SHARE)) {
        look_what_is_free(cache, now);
    }
    if (HK_UNLIKELY(hk_cache_is_watched(cache))) {
        hk_cache_watch(cache, next, now);
    }
    move_if_growing(cache);
}

void hk_cache_flush(hk_cache_t *cache)
{
    if (cache->quarantine != NULL) {
        hk_harden_drain(cache->quarantine, cache->heap->owner);
    }
    flush_magazines(cache);
}
