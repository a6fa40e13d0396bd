/*
 * cache: L0, one thread's free blocks, and the thread's way in and out of the allocator.
 *
 * A cache belongs to its thread; nobody else reads or writes it but for `busy` and the list links.  For each class it has a loaded
 * magazine, seen by the fast paths through `top` (the newest slot) and `limit` (the last slot), and perhaps a previous one, full or
 * empty, which keeps a program that wavers about a magazine's end from exchanging all the time.
 *
 * Every exceptional state is the empty cache: not started, torn down.  Its one magazine has no slots, so it is empty and full at
 * once, and its tag matches no block: every call falls through to the slow paths below, without a test of its own.
 */
#ifndef HK_CACHE_H
#define HK_CACHE_H

#include "gate.h"
#include "heaps.h"

enum { HK_OUTGOING_SLOTS = 32 };

typedef struct hk_cache {
    void **top[HK_CLASS_COUNT];
    void **limit[HK_CLASS_COUNT];
    uint64_t tag; /* the heap's owner, where the near table has it */
    hk_heap_t *heap;
    hk_magazine_t *loaded[HK_CLASS_COUNT];      /* NULL: none yet */
    hk_magazine_t *previous[HK_CLASS_COUNT];    /* NULL: none yet; its count is valid */
    uint8_t kind[HK_CLASS_COUNT];               /* the magazine size to ask for next */
    uint32_t operations;                        /* slow paths taken */
    hk_magazine_t *outgoing[HK_OUTGOING_SLOTS]; /* blocks of other heaps, by owner */
    uint16_t outgoing_owner[HK_OUTGOING_SLOTS];
    struct hk_cache *next; /* lock(caches) */
    struct hk_cache *prev; /* lock(caches) */
    hk_busy_t busy;        /* atomic: read by a forking thread */
} hk_cache_t;

extern HK_TLS hk_cache_t *hk_cache_tls;

/* A block of the class; NULL without memory.  The loaded magazine is empty, or its two newest blocks are the same. */
HK_COLD void *hk_cache_malloc_slow(unsigned class_index);

/* Frees a block that the fast path could not: no block, not mine, or no room. */
HK_NOINLINE void hk_cache_free_slow(void *block);

/* A span, by hk_span_allocate. */
void *hk_cache_allocate_span(size_t size, size_t alignment, bool *fresh);

/* Resizes a span or direct mapping in place or by moving its pages; NULL: it stays as it was, and the caller copies. */
void *hk_cache_resize(void *block, size_t size);

/* The usable bytes of a block; the process ends if there is no such block.  what names the caller's operation. */
size_t hk_cache_usable_bytes(const void *block, const char *what);

/* Frees what can be freed now, of all threads' heaps and of this thread's cache, and gives it back but for keep_bytes.  Returns the bytes
 * given back. */
size_t hk_cache_trim(size_t keep_bytes);

/* The end of the process: puts this thread's cached blocks and what lies in depots, as far as that is quick, back into slabs, which
 * finds the bad frees among them. */
void hk_cache_finish(void);

/* Enters and leaves the gate with this thread's busy word: for whoever walks the heaps. */
bool hk_cache_enter(void);
void hk_cache_leave(void);

/* fork: closes the gate and waits for the other threads; then in the parent; then in the child. */
void hk_cache_fork_prepare(void);
void hk_cache_fork_parent(void);
void hk_cache_fork_child(void);

/* The fast path of malloc. */
HK_INLINE void *hk_cache_malloc(unsigned class_index)
{
    hk_cache_t *cache = hk_cache_tls;
    void **top = cache->top[class_index];
    void *block = top[0];
    if (HK_UNLIKELY(block == top[-1])) { /* empty, or freed twice in a row: see magazine.h */
        return hk_cache_malloc_slow(class_index);
    }
    cache->top[class_index] = top - 1;
    return block;
}

/* The fast path of free. */
HK_INLINE void hk_cache_free(void *block)
{
    hk_cache_t *cache = hk_cache_tls;
    uintptr_t address = (uintptr_t)block;
    uint64_t class_index = hk_registry_near(address) ^ address;
    HK_OPAQUE(class_index); /* else the tag is loaded first, into a register of its own */
    class_index = (class_index ^ cache->tag) >> HK_UNIT_SHIFT;
    HK_OPAQUE(class_index); /* else it is compared before the shift, in a second register */
    if (HK_UNLIKELY(class_index >= HK_CLASS_COUNT)) {
        hk_cache_free_slow(block);
        return;
    }
    void **top = cache->top[class_index];
    if (HK_UNLIKELY(top == cache->limit[class_index])) {
        hk_cache_free_slow(block);
        return;
    }
    top[1] = block;
    HK_OPAQUE(class_index); /* else its address is worked out once, by an instruction of its own */
    cache->top[class_index]++;
}

#endif
