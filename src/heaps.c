/*
 * heaps: see heaps.h.
 */
#include "heaps.h"

#include "heap_hole.h"
#include "list.h"
#include "options.h"
#include "os.h"

hk_lock_t hk_heaps_lock;

static struct {
    _Atomic uint32_t
        count; /* threads' heaps: entries 1 to count of hk_heap_table; written under lock(caches) */
    uint32_t owned_count; /* lock(caches) */
    hk_heap_t *owned;     /* lock(caches): first-class heaps */
    _Atomic(hk_heap_t *)
        orphan;              /* atomic: for threads without a cache; set once, under lock(caches) */
    _Atomic uint32_t cursor; /* atomic: a hint for hk_heaps_next_other */
} heaps;

static hk_heap_t *heap_at(uint32_t owner)
{
    return hk_load_acquire(&hk_heap_table[owner]); /* acquire: pairs with add_heap */
}

static uint32_t threads_of(const hk_heap_t *heap)
{
    return hk_load_relaxed(&heap->threads); /* relaxed: under the lock */
}

static hk_heap_t *add_heap_locked(void)
{
    uint32_t owner = hk_load_relaxed(&heaps.count) + 1; /* relaxed: under the lock */
    hk_heap_t *heap = owner < HK_HEAPS_MAX ? hk_heap_new((uint16_t)owner, hk_pool_parts) : NULL;
    if (heap != NULL) {
        hk_pool_part_join();
        hk_store_release(&hk_heap_table[owner], heap); /* release: pairs with heap_at */
        hk_store_release(&heaps.count, owner);
    }
    return heap;
}

static bool may_add_heap_locked(void)
{
    uint32_t numbers = HK_HEAPS_MAX - 2; /* 0 is none's, and one stays free for the orphan */
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: under the lock */
    return count < numbers && count < hk_policy_heaps_max(hk_os_cpu_count());
}

hk_heap_t *hk_heaps_attach_locked(void)
{
    /* Threads may be bound to processors of their own, so each is asked.  A system call under a
     * lock: a short one, and the thread's start takes a hundred times as long. */
    hk_os_note_cpus();
    hk_heap_t *best = NULL;
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: under the lock */
    for (uint32_t owner = 1; owner <= count; owner++) {
        hk_heap_t *heap = heap_at(owner);
        if (hk_options.harden != 0 && !heap->hardened) {
            continue; /* made before the options were read */
        }
        if (best == NULL || threads_of(heap) < threads_of(best)) {
            best = heap;
        }
    }
    if (best == NULL || (threads_of(best) > 0 && may_add_heap_locked())) {
        hk_heap_t *added = add_heap_locked();
        best = added != NULL ? added : best;
    }
    if (best != NULL) {
        if (threads_of(best) > 0) {
            hk_store_relaxed(&best->shared, true); /* relaxed: under the lock */
        }
        hk_add_relaxed(&best->threads, 1); /* relaxed: under the lock */
    }
    return best;
}

void hk_heaps_detach_locked(hk_heap_t *heap)
{
    hk_sub_relaxed(&heap->threads, 1); /* relaxed: under the lock */
}

/* Hardened heaps have quarantines, which are their threads'. */
static void find_roomy(hk_heap_t *heap, void *context)
{
    hk_heap_t **best = context;
    size_t free_bytes = hk_heap_hole_candidate_bytes(heap);
    if (threads_of(heap) == 0 && !heap->hardened &&
        hk_policy_is_roomy(hk_heap_units(heap) * HK_UNIT_BYTES, free_bytes) &&
        (*best == NULL || free_bytes > hk_heap_hole_candidate_bytes(*best))) {
        *best = heap;
    }
}

hk_heap_t *hk_heaps_find_roomy(void)
{
    hk_heap_t *best = NULL;
    hk_heaps_each_thread_heap(find_roomy, &best);
    return best;
}

bool hk_heaps_move_locked(hk_heap_t *from, hk_heap_t *to)
{
    if (threads_of(to) > 0) {
        return false;
    }
    hk_add_relaxed(&to->threads, 1); /* relaxed: under the lock */
    hk_heaps_detach_locked(from);
    return true;
}

hk_heap_t *hk_heaps_orphan(void)
{
    hk_heap_t *heap = hk_load_acquire(&heaps.orphan); /* acquire: pairs with the store below */
    if (heap == NULL) {
        hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
        heap = hk_load_relaxed(&heaps.orphan); /* relaxed: under the lock */
        if (heap == NULL && (heap = add_heap_locked()) != NULL) {
            hk_store_relaxed(&heap->threads, 1);   /* never parked; relaxed: under the lock */
            hk_store_relaxed(&heap->shared, true); /* relaxed: likewise */
            hk_store_release(&heaps.orphan, heap);
        }
        hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    }
    return heap;
}

bool hk_heaps_is_shared(const hk_heap_t *heap)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    bool shared = hk_load_relaxed(&heap->shared); /* relaxed: under the lock */
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    return shared;
}

hk_heap_t *hk_heaps_create(void)
{
    hk_heap_t *heap = hk_heap_new(HK_OWNER_NONE, NULL);
    if (heap != NULL) {
        hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
        HK_LIST_PUSH(heaps.owned, heap, next, prev);
        heaps.owned_count++;
        hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    }
    return heap;
}

bool hk_heaps_remove(hk_heap_t *heap)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    hk_heap_t *found = heaps.owned;
    while (found != NULL && found != heap) {
        found = found->next;
    }
    if (found != NULL) {
        HK_LIST_REMOVE(heaps.owned, heap, next, prev);
        heaps.owned_count--;
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    return found != NULL;
}

void hk_heaps_each_thread_heap(void (*visit)(hk_heap_t *heap, void *context), void *context)
{
    uint32_t count = hk_load_acquire(&heaps.count);
    for (uint32_t owner = 1; owner <= count; owner++) {
        visit(heap_at(owner), context);
    }
}

static size_t idle_bytes(const hk_heap_t *heap)
{
    return hk_heap_depot_bytes(heap) + hk_heap_empty_units(heap) * HK_UNIT_BYTES;
}

/* Whether a thread works with the heap, or did just now: another one may come in its place. */
static bool is_busy(const hk_heap_t *heap, uint64_t now_ms)
{
    uint64_t seen_ms = hk_load_relaxed(&heap->seen_ms); /* relaxed: a hint */
    return hk_ms_since(seen_ms, now_ms) < HK_BUSY_MS;
}

static void add_idle(hk_heap_t *heap, void *context)
{
    hk_heaps_idle_t *idle = context;
    idle->depot_bytes += hk_heap_depot_bytes(heap);
    idle->empty_bytes += hk_heap_empty_units(heap) * HK_UNIT_BYTES;
    if (heap == idle->mine) {
        return;
    }
    size_t kept = idle_bytes(heap);
    size_t hidden = hk_heap_inbox_bytes(heap) + hk_heap_sparse_bytes(heap);
    size_t busy = is_busy(heap, idle->now_ms) ? hk_least(kept + hidden, HK_BUSY_BYTES) : 0;
    idle->other_bytes += hidden;
    idle->busy_bytes += busy;
    idle->busy_idle_bytes += hk_least(kept, busy);
    if (idle->fullest == NULL || kept > idle_bytes(idle->fullest)) {
        idle->fullest = heap;
    }
}

hk_heaps_idle_t hk_heaps_find_idle(const hk_heap_t *mine, uint64_t now_ms)
{
    hk_heaps_idle_t idle = {.mine = mine, .now_ms = now_ms};
    hk_heaps_each_thread_heap(add_idle, &idle);
    return idle;
}

void hk_heaps_each_first_class(void (*visit)(hk_heap_t *heap, void *context), void *context)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    for (hk_heap_t *heap = heaps.owned; heap != NULL; heap = heap->next) {
        visit(heap, context);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
}

void hk_heaps_each(void (*visit_heap)(hk_heap_t *heap, void *context),
                   void (*visit_pool)(hk_pool_t *pool, void *context), void *context)
{
    hk_heaps_each_thread_heap(visit_heap, context);
    for (hk_pool_t *part = NULL; (part = hk_pool_part_next(part)) != NULL;) {
        visit_pool(part, context);
    }
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    for (hk_heap_t *heap = heaps.owned; heap != NULL; heap = heap->next) {
        visit_heap(heap, context);
        visit_pool(heap->pool, context);
    }
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
}

hk_heap_t *hk_heaps_next_other(const hk_heap_t *heap)
{
    uint32_t count = hk_load_acquire(&heaps.count);
    if (count < 2) {
        return NULL;
    }
    uint32_t owner = hk_add_relaxed(&heaps.cursor, 1) % count + 1; /* relaxed: a hint */
    hk_heap_t *other = heap_at(owner);
    return other == heap ? NULL : other;
}

void hk_heaps_reset(hk_heap_t *mine)
{
    hk_lock_reset(&hk_heaps_lock);
    uint32_t count = hk_load_relaxed(&heaps.count); /* relaxed: the child has one thread */
    for (uint32_t owner = 1; owner <= count; owner++) {
        hk_heap_t *heap = heap_at(owner);
        hk_heap_reset(heap);
        bool used = heap == mine || heap == hk_load_relaxed(&heaps.orphan);
        hk_store_relaxed(&heap->threads, used ? 1u : 0u);
    }
    for (hk_heap_t *heap = heaps.owned; heap != NULL; heap = heap->next) {
        hk_heap_reset(heap);
        hk_lock_reset(&heap->pool->lock);
    }
    hk_pool_part_reset_locks();
}

uint64_t hk_heaps_count(void)
{
    hk_lock_acquire(&hk_heaps_lock, HK_RANK_CACHES);
    uint64_t count =
        hk_load_relaxed(&heaps.count) + heaps.owned_count; /* relaxed: under the lock */
    hk_lock_release(&hk_heaps_lock, HK_RANK_CACHES);
    return count;
}
