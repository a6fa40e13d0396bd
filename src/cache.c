/*
 * cache: what is done to one thread's cache.  See cache.h.
 */
#include "cache.h"

#include <string.h>

#include "limit.h"
#include "reject.h"

/* The ends of a magazine without slots. */
static void *no_magazine[2] = {NULL, HK_MAGAZINE_END};

#define NO_TOP (&no_magazine[0])
#define NO_TOPS [0 ... HK_CLASS_COUNT - 1] = NO_TOP

hk_cache_t hk_cache_empty = {
    .top = {NO_TOPS},
    .tag = (uint64_t)HK_OWNER_NONE << HK_OWNER_SHIFT,
};

hk_cache_t *hk_cache_list;
_Atomic bool hk_cache_crowded;

/* ---- Magazines in the cache ---- */

/* A signal handler may end the thread's work at any point here, by a jump or by exit.  Then a
 * magazine in hand is lost, but no magazine is in the cache twice or with a wrong count. */

/* The most blocks that a magazine of the class takes in now.  Nobody gets at what an idle thread
 * has in its magazines, not even at the hard limit. */
HK_INLINE unsigned most_blocks(unsigned class_index)
{
    const hk_policy_class_t *policy = &hk_policy_class[class_index];
    bool few = hk_load_relaxed(&hk_cache_crowded) || hk_limit_get(HK_LIMIT_HARD) != 0;
    return few ? policy->load_blocks : policy->magazine_blocks; /* relaxed: a hint */
}

HK_INLINE void set_loaded(hk_cache_t *cache, unsigned class_index, hk_magazine_t *magazine)
{
    hk_fence_signal(); /* by now it is nowhere else */
    unsigned most = hk_magazine_capacity(magazine->kind);
    unsigned capacity = most_blocks(class_index);
    capacity = capacity < most ? capacity : most;
    /* A magazine that another heap's thread filled may hold more. */
    capacity = capacity > magazine->count ? capacity : magazine->count;
    magazine->next = NULL;
    hk_magazine_set_capacity(magazine, capacity);
    hk_fence_signal(); /* its ends are there */
    cache->top[class_index] = magazine->slot + magazine->count - 1;
    hk_fence_signal();
    cache->loaded[class_index] = magazine;
}

/* Takes the loaded magazine out, its count made valid; NULL if there is none. */
HK_INLINE hk_magazine_t *take_loaded(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *magazine = cache->loaded[class_index];
    if (magazine != NULL) {
        magazine->count = (uint16_t)hk_magazine_loaded_count(magazine, cache->top[class_index]);
        cache->loaded[class_index] = NULL;
        hk_fence_signal();
        cache->top[class_index] = NO_TOP;
    }
    return magazine;
}

/* Magazines grow with use: each exchange asks for the next size. */
static unsigned next_kind(hk_cache_t *cache, unsigned class_index)
{
    unsigned most = hk_policy_class[class_index].magazine_kind;
    unsigned cold = hk_policy_class[class_index].cold_uses;
    unsigned uses = cache->uses[class_index];
    if (HK_LIKELY(uses > cold + most)) {
        return most;
    }
    uses = uses < cold ? cold : uses;
    cache->uses[class_index] = (uint8_t)(uses + 1);
    return uses - cold;
}

bool hk_cache_is_still_cold(hk_cache_t *cache, unsigned class_index)
{
    if (cache->linger_uses > 0) {
        return true;
    }
    if (cache->uses[class_index] >= hk_policy_class[class_index].cold_uses) {
        return false;
    }
    cache->uses[class_index]++;
    return true;
}

void hk_cache_dissolve(hk_cache_t *cache, unsigned class_index)
{
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

__attribute__((no_sanitize("thread"))) HK_NOINLINE size_t hk_cache_count(const hk_cache_t *cache,
                                                                         unsigned class_index)
{
    const hk_magazine_t *loaded = cache->loaded[class_index];
    const hk_magazine_t *previous = cache->previous[class_index];
    size_t most = hk_magazine_capacity(HK_MAGAZINE_KINDS - 1);
    size_t count = 0;
    if (loaded != NULL) {
        size_t top = (uintptr_t)(cache->top[class_index] + 1) - (uintptr_t)loaded->slot;
        count += top / sizeof(void *) <= most ? top / sizeof(void *) : 0;
    }
    if (previous != NULL) {
        count += previous->count <= most ? previous->count : 0;
    }
    return count;
}

bool hk_cache_swap_in(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *previous = cache->previous[class_index];
    if (previous == NULL || previous->count == 0) {
        return false;
    }
    cache->previous[class_index] = take_loaded(cache, class_index);
    set_loaded(cache, class_index, previous);
    return true;
}

bool hk_cache_shift_out(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *loaded = cache->loaded[class_index];
    hk_magazine_t *previous = cache->previous[class_index];
    if (loaded == NULL || previous == NULL) {
        return false;
    }
    unsigned most = (unsigned)hk_least(most_blocks(class_index), previous->capacity);
    if (previous->count >= most || previous->kind < hk_policy_class[class_index].magazine_kind ||
        cache->top[class_index] >= loaded->slot + most) { /* it would still hold too many */
        return false;
    }
    (void)take_loaded(cache, class_index);
    cache->previous[class_index] = NULL;
    unsigned half = (loaded->count + 1u) / 2;
    unsigned room = most - previous->count;
    unsigned moved = half < room ? half : room;
    unsigned left = loaded->count - moved;
    memcpy(previous->slot + previous->count, loaded->slot, moved * sizeof(void *));
    memmove(loaded->slot, loaded->slot + moved, left * sizeof(void *));
    previous->count = (uint16_t)(previous->count + moved);
    loaded->count = (uint16_t)left;
    hk_fence_signal(); /* its count is valid */
    cache->previous[class_index] = previous;
    set_loaded(cache, class_index, loaded);
    return true;
}

static HK_COLD _Noreturn void reject_twice(const void *block)
{
    hk_reject_block("double free", block, "freed by another thread, and free already");
}

/* Clears the live bits of blocks that other threads freed.  If a bit is clear already, a thread of
 * this heap has freed the block too, or the block has arrived here before. */
static void settle(const hk_cache_t *cache, hk_magazine_t *magazine)
{
    if (magazine->marks == HK_MARKS_CLEAR) {
        return;
    }
    for (unsigned i = 0; i < magazine->count; i++) {
        if (!hk_live_clear(magazine->slot[i]) && magazine->marks == HK_MARKS_SET &&
            !hk_heaps_is_shared(cache->heap)) {
            reject_twice(magazine->slot[i]);
        }
    }
    magazine->marks = HK_MARKS_CLEAR;
}

/* Moves the blocks of a magazine that other heaps' threads filled to the loaded magazines that have
 * room; the rest stays in it, with their live bits as they are.  Which class comes next is chance,
 * so nothing branches on it.  The near table is asked before the live bits, because the superslab
 * of a block that was freed twice may be gone. */
static void unpack(hk_cache_t *cache, hk_magazine_t *magazine)
{
    uint64_t tag = hk_heap_near_tag(cache->heap);
    void **rest = magazine->slot;
    void *const *end = rest + magazine->count;
    for (void *const *from = rest; from < end; from++) {
        void *block = *from;
        uint64_t class_index = (hk_registry_fold(block) ^ tag) >> HK_UNIT_SHIFT;
        if (HK_UNLIKELY(class_index >= HK_CLASS_COUNT)) {
            *rest++ = block;
            continue;
        }
        void **top = cache->top[class_index];
        uint32_t room = top[1] != HK_MAGAZINE_END;
        if (HK_UNLIKELY(!hk_live_clear_if(block, room)) && !hk_heaps_is_shared(cache->heap)) {
            reject_twice(block);
        }
        *(room != 0 ? top + 1 : rest) = block;
        hk_fence_signal(); /* as in hk_cache_push */
        cache->top[class_index] = top + room;
        rest += 1 - room;
    }
    magazine->count = (uint16_t)(rest - magazine->slot);
}

/* Keeps an emptied magazine for outgoing blocks; false if enough are kept, it is not empty, or it
 * is not of the largest kind. */
static bool keep_spare(hk_cache_t *cache, hk_magazine_t *magazine)
{
    if (magazine->count > 0 || magazine->kind != HK_MAGAZINE_KINDS - 1 ||
        cache->spare_count == HK_CACHE_SPARES) {
        return false;
    }
    hk_magazine_push_list(&cache->spare, magazine);
    cache->spare_count++;
    return true;
}

bool hk_cache_take_in(hk_cache_t *cache, unsigned class_index)
{
    /* Threads that share a heap leave what comes to the depots, where all have it.  relaxed: a
     * hint */
    bool alone = hk_load_relaxed(&cache->heap->threads) == 1;
    hk_magazine_t *list = alone ? hk_heap_take_inbox(cache->heap) : NULL;
    hk_magazine_t *rest = NULL;
    if (list == NULL) {
        return false;
    }
    for (hk_magazine_t *magazine; (magazine = hk_magazine_pop_list(&list)) != NULL;) {
        unpack(cache, magazine);
        if (!keep_spare(cache, magazine)) {
            hk_magazine_push_list(&rest, magazine);
        }
    }
    if (rest != NULL) {
        hk_heap_return_inbox(cache->heap, rest);
    }
    return *cache->top[class_index] != NULL;
}

void *hk_cache_take_cold(hk_cache_t *cache, unsigned class_index)
{
    bool was_clear;
    void *block = hk_heap_take_block_settled(cache->heap, class_index, &was_clear);
    if (HK_UNLIKELY(was_clear) && !hk_heaps_is_shared(cache->heap)) {
        reject_twice(block);
    }
    return block;
}

bool hk_cache_reload(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *empty = take_loaded(cache, class_index);
    hk_magazine_t *loaded = hk_heap_load(cache->heap, class_index, empty,
                                         next_kind(cache, class_index), most_blocks(class_index));
    if (loaded == NULL) {
        if (empty != NULL) {
            set_loaded(cache, class_index, empty);
        }
        return false;
    }
    settle(cache, loaded);
    set_loaded(cache, class_index, loaded);
    return true;
}

/* Never NULL. */
static hk_magazine_t *exchange(hk_cache_t *cache, unsigned class_index, hk_magazine_t *previous)
{
    /* An empty magazine grows too; otherwise a class that goes back and forth about small magazines
     * would come this way for ever. */
    unsigned kind = next_kind(cache, class_index);
    hk_cache_note_freed(cache, previous->count * (size_t)hk_class_info[class_index].block_bytes);
    return previous->count == 0 ? hk_heap_exchange_empty(cache->heap, previous, kind)
                                : hk_heap_unload(cache->heap, class_index, previous, kind);
}

bool hk_cache_make_room(hk_cache_t *cache, unsigned class_index)
{
    hk_magazine_t *full = take_loaded(cache, class_index);
    hk_magazine_t *previous = cache->previous[class_index];
    hk_magazine_t *empty;
    if (full == NULL || previous == NULL) {
        empty = hk_heap_take_magazine(cache->heap, next_kind(cache, class_index));
    } else {
        cache->previous[class_index] = NULL;
        hk_fence_signal(); /* the heap has it from here on */
        empty = exchange(cache, class_index, previous);
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
