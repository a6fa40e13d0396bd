/*
 * cache_watch: bringing threads to their slow paths while much is free.  See cache.h.
 *
 * Who begins the watch summons all other threads: it traps their mallocs.  From then on each thread
 * sets its own traps, until it finds that the watch is over.  Whether there is a watch, who can be
 * trapped and who is: all that is stored, and read where it matters, in one total order.
 */
#include "cache.h"
#include "limit.h"
#include "options.h"
#include "os.h"

enum {
    WATCH_MS = 1000, /* after the last note; and no less than */
    WATCH_EPOCHS = 4,
    NOTE_MS = 64,     /* between two notes */
    STUCK_MS = 2000,  /* what has not changed for so long, and */
    STUCK_EPOCHS = 8, /* for so many epochs, does not go */
    NEWS_BYTES = HK_LINGER_BYTES / 4,
    PASSES_MAX = 15, /* few: a thread that was busy does not pass for long once it is not */
};

hk_watch_t hk_cache_watch_state;

static uint64_t ms_or_epochs(uint64_t ms, unsigned epochs)
{
    uint64_t epochs_ms = epochs * hk_options.decay;
    return ms < epochs_ms ? epochs_ms : ms;
}

static void trap(hk_cache_t *cache, hk_trap_t which)
{
    hk_view_t *view = cache->own_view;
    if (cache->hardened) {
        hk_store_seq_cst(&cache->quick_malloc, cache->quick && which == HK_TRAP_NONE);
    } else if (view != NULL && which == HK_TRAP_NONE) {
        hk_store_seq_cst(&view->by_malloc, cache);
        view->by_free = cache;
    } else if (view != NULL) { /* relaxed: one of the two is trapped in any case */
        hk_store_relaxed(&view->by_malloc, which == HK_TRAP_MALLOC ? &hk_cache_empty : cache);
        view->by_free = which == HK_TRAP_FREE ? &hk_cache_empty : cache;
    }
}

static void summon_others(const hk_cache_t *mine)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    for (hk_cache_t *cache = hk_cache_list; cache != NULL; cache = cache->next) {
        /* pairs with the store in hk_cache_watch_join; from then on the view lasts as long as the
         * cache is in the list */
        hk_view_t *view = hk_load_seq_cst(&cache->view);
        if (cache == mine || view == NULL) {
            continue;
        }
        if (cache->hardened) {
            hk_store_seq_cst(&cache->quick_malloc, false);
        } else {
            hk_store_seq_cst(&view->by_malloc, &hk_cache_empty);
        }
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
}

/* Begins or prolongs the watch. */
static void note(const hk_cache_t *cache, uint64_t now_ms)
{
    uint64_t before = hk_load_relaxed(&hk_cache_watch_state.noted_ms);
    while (before == 0 || now_ms >= before + NOTE_MS) {
        bool first = before == 0;
        if (hk_cas_seq_cst(&hk_cache_watch_state.noted_ms, &before, now_ms)) {
            if (first) {
                summon_others(cache);
            }
            return;
        }
    }
}

/* What was last found, by whichever thread.  relaxed: hints, in no order */
static struct {
    _Atomic size_t bytes;       /* that could go, when that was last news, */
    _Atomic size_t idle_bytes;  /* and without what other threads work with */
    _Atomic uint64_t stuck_ms;  /* for so long it has not been, */
    _Atomic uint64_t looked_ms; /* up to when somebody last looked */
} found;

static bool has_moved(size_t before, size_t bytes)
{
    return bytes + HK_LINGER_BYTES_MIN <= before || bytes >= before + NEWS_BYTES;
}

/* Some of what could go never does: in sparse slabs each page may have a live block.  It is no news
 * if heaps become busy or idle, nor what comes and goes in busy ones.  Time in which nobody looked
 * does not count. */
static bool is_stuck(size_t bytes, size_t idle_bytes, bool is_news, uint64_t now_ms)
{
    uint64_t looked_ms = hk_load_relaxed(&found.looked_ms);
    uint64_t stuck_ms = 0;
    if (is_news || (has_moved(hk_load_relaxed(&found.bytes), bytes) &&
                    has_moved(hk_load_relaxed(&found.idle_bytes), idle_bytes))) {
        hk_store_relaxed(&found.bytes, bytes);
        hk_store_relaxed(&found.idle_bytes, idle_bytes);
    } else {
        stuck_ms =
            hk_load_relaxed(&found.stuck_ms) + hk_least(hk_ms_since(looked_ms, now_ms), NOTE_MS);
    }
    hk_store_relaxed(&found.stuck_ms, stuck_ms);
    hk_store_relaxed(&found.looked_ms, now_ms);
    return stuck_ms >= ms_or_epochs(STUCK_MS, STUCK_EPOCHS);
}

void hk_cache_watch_note(const hk_cache_t *cache, hk_excess_t excess, bool is_news, uint64_t now_ms)
{
    if (hk_options.decay > HK_HURRY_DECAY_MS) {
        return;
    }
    size_t bytes = excess.bytes + excess.other_bytes;
    size_t idle_bytes = hk_above(bytes, excess.busy_bytes);
    size_t least = hk_cache_watch_is_on() ? HK_LINGER_BYTES_MIN
                                          : hk_policy_watch_bytes(hk_limit_committed_bytes());
    if (!is_stuck(bytes, idle_bytes, is_news, now_ms) && idle_bytes >= least) {
        note(cache, now_ms);
    }
}

void hk_cache_watch_join(hk_cache_t *cache)
{
    /* Whoever begins a watch sees the view, or this thread sees the watch. */
    hk_store_seq_cst(&cache->view, cache->own_view);
    if (hk_load_seq_cst(&hk_cache_watch_state.noted_ms) != 0) {
        trap(cache, HK_TRAP_MALLOC);
    }
}

/* Either whoever begins the next watch traps this thread after it has taken its trap away; or this
 * thread sees that there is a watch again. */
void hk_cache_watch(hk_cache_t *cache, hk_trap_t next, uint64_t now_ms)
{
    uint64_t since = hk_load_relaxed(&hk_cache_watch_state.noted_ms);
    if (since != 0 && now_ms >= since + ms_or_epochs(WATCH_MS, WATCH_EPOCHS)) {
        (void)hk_cas_seq_cst(&hk_cache_watch_state.noted_ms, &since, 0);
        since = hk_load_relaxed(&hk_cache_watch_state.noted_ms);
    }
    if (since == 0) {
        trap(cache, HK_TRAP_NONE);
        since = hk_load_seq_cst(&hk_cache_watch_state.noted_ms);
    }
    if (since != 0) {
        trap(cache, next);
    }
}

/* The more calls come in one tick of the clock, the more of the next ones pass; with hardening,
 * whose calls may not get past its checks, none. */
bool hk_cache_watch_is_due(hk_cache_t *cache)
{
    if (cache->passes > 0) {
        cache->passes--;
        return false;
    }
    uint64_t now = hk_os_clock_ms();
    if (now != cache->looked_ms) {
        cache->looked_ms = now;
        cache->looked_busy = 0;
        return true;
    }
    cache->looked_busy = cache->looked_busy < PASSES_MAX ? 2 * cache->looked_busy + 1 : PASSES_MAX;
    cache->passes = cache->hardened ? 0 : cache->looked_busy;
    return false;
}
