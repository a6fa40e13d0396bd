/*
 * harden: small blocks with canaries, in and out.
 *
 * With HAKMEM_HARDEN every thread's cache stays empty for good, so that each malloc and free takes the slow path and
 * comes by here.  Every small block of a hardened heap has a tail (canary.h).  A thread's store holds, for each class,
 * a stock of free blocks, of which a random one goes out, and a quarantine, where what the thread frees waits.  Stores
 * belong to their threads alone; a tail goes from live to free by one atomic operation, so that of two threads that
 * free the same block one is told; so hardened heaps have no use for live bits, and set none.
 *
 * Heaps made before the options were read are not hardened, and their blocks are as always.
 */
#ifndef HK_HARDEN_H
#define HK_HARDEN_H

#include "heap.h"

typedef struct hk_harden hk_harden_t;

static inline bool hk_harden_owns(const hk_heap_t *heap)
{
    return heap->hardened;
}

/* A store for a thread that works out of the heap; NULL if there is no memory. */
hk_harden_t *hk_harden_new(hk_heap_t *heap);

/* Puts everything in the store back into slabs; deletes an empty store. */
void hk_harden_drain(hk_harden_t *store);
void hk_harden_delete(hk_harden_t *store);

/* The class of a block of the size, with its tail; HK_CLASS_COUNT if there is none. */
unsigned hk_harden_class_of(size_t size, size_t alignment);

/* A block out of the stock; NULL if there is none of the class.  Touches nothing but the store. */
void *hk_harden_try_allocate(hk_harden_t *store, size_t size, size_t alignment);

/* The same with the heap behind it; NULL if there is no memory. */
void *hk_harden_allocate(hk_harden_t *store, size_t size, size_t alignment);

/* One block past all stores; *fresh tells whether it is zero all over.  NULL if there is no memory. */
void *hk_harden_allocate_in(hk_heap_t *heap, size_t size, size_t alignment, bool *fresh);

/* Frees a live block of the class into the quarantine, if that has room; else, and if it is no such block, false, and
 * nothing is done.  Touches nothing but the store. */
bool hk_harden_try_free(hk_harden_t *store, void *block, uint16_t owner, unsigned class_index);

/* Frees a block of a hardened heap's slab; without a store, or if it is a first-class heap's, at once.  The process
 * ends if no whole live block starts there. */
void hk_harden_free(hk_harden_t *store, hk_slab_t *slab, void *block);

/* The size of the live block; the process ends if there is none, what names the operation. */
size_t hk_harden_usable_bytes(const hk_slab_t *slab, const void *block, const char *what);

/* What the store's free blocks hold, about, from any thread. */
size_t hk_harden_stored_bytes(const hk_harden_t *store);

/* Gives a live block the smaller size, for which it stays where it is. */
void hk_harden_shrink(const hk_slab_t *slab, void *block, size_t size);

/* Looks at every block of the pool's hardened slabs: the process ends if one was written to behind its end or while it
 * was free.  No other thread may be using the heap. */
void hk_harden_inspect(hk_pool_t *pool);

#endif
