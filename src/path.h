/*
 * path: the ways in and out of the allocator: the two fast paths, and the slow paths behind them.
 *
 * A fast path touches the thread's own cache, the near table and the block's live bit, nothing
 * else.  A slow path that needs more than what is its thread's alone passes the gate; when a fork
 * has closed it, the refuge serves instead.
 */
#ifndef HK_PATH_H
#define HK_PATH_H

#include "thread.h"

/* Returns a block of the class, which is the one for the size and the alignment; NULL without
 * memory.  The loaded magazine is empty, or mallocs are trapped.  return_address is the call's that
 * the program made. */
HK_COLD void *hk_path_malloc_slow(unsigned class_index, size_t size, size_t alignment,
                                  const void *return_address);

/* Returns a block of the heap itself, past all caches; inside the gate. */
void *hk_path_allocate_past_caches(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* How many bytes a block of the size has, without hardening or sampling. */
size_t hk_path_good_size(size_t size, size_t alignment);

/* Returns a block out of the refuge, as large as it would be elsewhere; NULL without memory.  For
 * while a fork is under way. */
HK_COLD void *hk_path_allocate_refuge(size_t size, size_t alignment);

/* Frees whatever the fast path could not free: a block of another heap or kind, one for which there
 * is no room, one with a clear live bit, or something that is no block. */
HK_NOINLINE void hk_path_free_slow(void *block);

/* Returns a span (see hk_span_allocate). */
void *hk_path_allocate_span(size_t size, size_t alignment, bool *fresh);

/* The same for a block above HK_SMALL_MAX that realloc has to move. */
void *hk_path_allocate_growing(size_t size);

/* Resizes a span in place or by moving its pages; after NULL it is as it was, and the caller
 * copies. */
void *hk_path_resize(void *block, size_t size);

/* Makes a live block with so many usable bytes one of `size` in place, if it has room; false if
 * not. With hardening, which has to be told of each change, there may be more room than what is
 * usable. */
bool hk_path_try_refit(void *block, size_t usable, size_t size);

/* Whether hardening knows the size that was asked for; then that is the block's usable size. */
bool hk_path_is_exact(const void *block);

/* Returns the usable bytes of a block; the process ends if there is no such block.  Its message
 * starts with `what`, or for a free block with what_if_free. */
size_t hk_path_usable_bytes(const void *block, const char *what, const char *what_if_free);

/* Gives back what can be given back now, of all threads' heaps and of this thread's cache, except
 * keep_bytes.  Returns the bytes given back. */
size_t hk_path_trim(size_t keep_bytes);

/* Frees the blocks that were noted while a fork was under way.  Inside the gate, so that none is
 * noted again. */
void hk_path_replay(void);

/* The same from outside the gate and without a cache: the housekeeper's chore. */
void hk_path_replay_uncached(void);

/* At the end of the process: puts this thread's cached blocks back into slabs, and what lies in
 * depots as far as that is quick.  That finds the bad frees among them. */
void hk_path_finish(void);

/* For a call that was trapped and that the cache was enough for: helps, if that is due. */
HK_NOINLINE void hk_path_help_trapped(hk_cache_t *cache, hk_trap_t trap);

/* Enters the gate with this thread's cache, or as a stranger (*cache is NULL).  hk_path_leave must
 * get the same cache: the thread may get one while it is inside, if a fork kept it from having one
 * before. */
HK_INLINE bool hk_path_enter(hk_cache_t **cache)
{
    *cache = hk_thread_attach();
    return hk_thread_enter(*cache);
}

static inline void hk_path_leave(hk_cache_t *cache)
{
    hk_thread_leave(cache);
}

/* Whether the near table says that the block is of the class, in whichever heap.  False proves
 * nothing. */
HK_INLINE bool hk_path_is_of_class(const void *block, unsigned class_index)
{
    /* All of the address bits agree, too. */
    return (uint32_t)(hk_registry_fold(block) >> HK_UNIT_SHIFT) == class_index;
}

/* For a block of a thread's heap the near table says whose it is and of which class, so that the
 * map need not be asked.  False if the table does not know it. */
HK_INLINE bool hk_path_find_folded(const void *block, uint64_t folded, uint16_t *owner,
                                   unsigned *class_index)
{
    *class_index = (uint32_t)(folded >> HK_UNIT_SHIFT); /* with the address bits, which must be 0 */
    *owner = (uint16_t)(folded >> HK_OWNER_SHIFT);
    return *class_index < HK_CLASS_COUNT && *owner != 0 && (uintptr_t)block >> HK_OWNER_SHIFT == 0;
}

HK_INLINE bool hk_path_find_near(const void *block, uint16_t *owner, unsigned *class_index)
{
    return hk_path_find_folded(block, hk_registry_fold(block), owner, class_index);
}

/* Whether the near table knows that an address lies in a thread's heap, hardened or not.  False
 * proves nothing. */
HK_INLINE bool hk_path_is_threads(const void *block)
{
    uint64_t folded = hk_registry_fold(block);
    return (uint32_t)(folded >> HK_UNIT_SHIFT) < 2 * HK_NEAR_HARDENED &&
           folded >> HK_OWNER_SHIFT != 0 && (uintptr_t)block >> HK_OWNER_SHIFT == 0;
}

/* The usable bytes of a live block that the near table knows; 0 proves nothing. */
HK_INLINE size_t hk_path_near_bytes(const void *block)
{
    uint16_t owner;
    unsigned class_index;
    bool found = hk_path_find_near(block, &owner, &class_index) && hk_live_is_set(block);
    return found ? hk_class_info[class_index].block_bytes : 0;
}

/* The fast path of malloc: a block out of the loaded magazine; NULL if that is empty, or mallocs
 * are trapped. */
HK_INLINE void *hk_path_try_malloc(unsigned class_index)
{
    hk_cache_t *cache = hk_load_relaxed(&hk_thread_view.by_malloc); /* relaxed: see cache.h */
    void **top = cache->top[class_index];
    void *block = top[0];
    if (HK_LIKELY(block != NULL)) { /* not empty: see magazine.h */
        cache->top[class_index] = top - 1;
        hk_live_set(block);
    }
    return block;
}

/* For a trapped call that may pass: a block out of the loaded magazine; NULL if it may not, or
 * there is none. */
HK_INLINE void *hk_path_pass(unsigned class_index)
{
    hk_cache_t *cache = hk_thread_own;
    if (cache->passes == 0 || *cache->top[class_index] == NULL) {
        return NULL;
    }
    cache->passes--;
    return hk_cache_pop(cache, class_index);
}

/* Level 1's fast path: a block out of the loaded magazine of a quick cache; NULL if it has none. */
HK_INLINE void *hk_path_pop_hardened(hk_cache_t *cache, unsigned class_index, size_t size)
{
    void *block = *cache->top[class_index];
    if (HK_UNLIKELY(block == NULL)) {
        return NULL;
    }
    void **below = --cache->top[class_index];
    /* The check has to wait for the block's memory, where the program would only write to it.  So
     * the next block is fetched a call ahead. */
    uintptr_t next = (uintptr_t)*below; /* or NULL, which does no harm */
    __builtin_prefetch((void *)next, 1);
    __builtin_prefetch((void *)(next + hk_class_info[class_index].block_bytes - 1), 1);
    hk_live_set(block);
    return hk_harden_arm_to(block, class_index, size, HK_CANARY_PART);
}

/* Frees a block into a loaded magazine of the cache; false, and nothing done, if that cannot be. */
HK_INLINE bool hk_path_try_free(hk_cache_t *cache, void *block)
{
    uintptr_t address = (uintptr_t)block;
    uint64_t class_index = hk_registry_near(address) ^ address;
    HK_OPAQUE(class_index); /* else the tag is loaded first, into a register of its own */
    class_index = (class_index ^ cache->tag) >> HK_UNIT_SHIFT;
    HK_OPAQUE(class_index); /* else it is compared before the shift, in a second register */
    if (HK_UNLIKELY(class_index >= HK_CLASS_COUNT)) {
        return false;
    }
    void **top = cache->top[class_index];
    uintptr_t either = (uintptr_t)top[1] | address; /* HK_MAGAZINE_END is misaligned too */
    if (HK_UNLIKELY(hk_live_is_misaligned((void *)either) ||
                    !hk_live_clear(block))) { /* free already, or no block */
        return false;
    }
    top[1] = block;
    HK_OPAQUE(class_index); /* else its address is worked out once, by an instruction of its own */
    cache->top[class_index]++;
    return true;
}

/* The fast path of free. */
HK_INLINE void hk_path_free(void *block)
{
    if (HK_UNLIKELY(!hk_path_try_free(hk_thread_view.by_free, block))) {
        hk_path_free_slow(block);
    }
}

#endif
