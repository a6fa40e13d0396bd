/*
 * HAKMEM: the public interface.
 *
 * Linking with the library, or preloading it, already replaces the whole malloc family; nothing in
 * this header is needed for that.  The functions here are the same family under names of its own,
 * first-class heaps, limits, statistics and the whole-heap check.  The environment sets options,
 * HAKMEM_LIMIT=80% say: README.md and hakmem(3) list them all.  hakmem(3), the man page, also has
 * examples, and how to link.
 *
 * Unless a function says otherwise it is thread-safe, it is not async-signal-safe, sizes are in
 * bytes, every block is aligned to 16, and failure sets errno to ENOMEM and returns NULL.  A block
 * from any allocating function here may be freed by any freeing function here or in <stdlib.h>.
 * Since 1.0 unless said otherwise.
 */
#ifndef HAKMEM_HAKMEM_H
#define HAKMEM_HAKMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HAKMEM_VERSION_MAJOR 1
#define HAKMEM_VERSION_MINOR 0
#define HAKMEM_VERSION_PATCH 0

#define HAK_API __attribute__((visibility("default")))

typedef struct hk_heap hak_heap_t;

/* What compilers are told of the functions below.  HAK_SIZE: the bounds of blocks, for
 * _FORTIFY_SOURCE; as with malloc these are the size asked for, whatever hak_usable_size says.
 * HAK_FREED: what may free a block; gcc warns of anything else (-Wmismatched-dealloc).  It also
 * warns where a hak_ function gets a block of malloc's: that works, and free, which works too, says
 * it without a warning. */
#define HAK_SIZE(...) __attribute__((alloc_size(__VA_ARGS__)))
#define HAK_ALIGN(parameter) __attribute__((alloc_align(parameter)))
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
HAK_API void hak_free(void *block);
HAK_API void hak_free_sized(void *block, size_t size);
HAK_API void hak_free_aligned_sized(void *block, size_t alignment, size_t size);
HAK_API void *hak_realloc(void *block, size_t size);
HAK_API void *hak_reallocarray(void *block, size_t count, size_t size);
HAK_API void *hak_heap_realloc(hak_heap_t *heap, void *block, size_t size);
HAK_API void hak_heap_destroy(hak_heap_t *heap);
#define HAK_FREED                                                                                  \
    __attribute__((malloc(hak_free), malloc(hak_free_sized), malloc(hak_free_aligned_sized),       \
                   malloc(hak_realloc), malloc(hak_reallocarray), malloc(hak_heap_realloc, 2),     \
                   malloc(free), malloc(realloc)))
#define HAK_DESTROYED __attribute__((malloc(hak_heap_destroy)))
#else
#define HAK_FREED
#define HAK_DESTROYED
#endif
#define HAK_RESIZES HAK_API HAK_FREED __attribute__((warn_unused_result))
#define HAK_ALLOCATES HAK_RESIZES __attribute__((malloc))
#define HAK_CREATES HAK_API HAK_DESTROYED __attribute__((malloc, warn_unused_result))

/* The version of the library that is running, as major * 10000 + minor * 100 + patch. */
HAK_API int hak_version(void);

/* ---- The malloc family (ISO C11 7.22.3, C23, POSIX.1-2017, glibc) ---- */

/* A block of at least size bytes, uninitialised.  malloc(0) returns a unique block.  Sizes above
 * PTRDIFF_MAX fail. */
HAK_ALLOCATES HAK_SIZE(1) void *hak_malloc(size_t size);

/* A zeroed block for count elements of size bytes; fails if the product overflows. */
HAK_ALLOCATES HAK_SIZE(1, 2) void *hak_calloc(size_t count, size_t size);

/* Resizes block, which may move; its first min(old, new) bytes are kept.  On failure block stays
 * valid.  hak_realloc(NULL, n) is hak_malloc(n); hak_realloc(p, 0) frees p and returns NULL, as
 * glibc's does. */
HAK_RESIZES HAK_SIZE(2) void *hak_realloc(void *block, size_t size);

/* hak_realloc(block, count * size), failing with ENOMEM if the product overflows. */
HAK_RESIZES HAK_SIZE(2, 3) void *hak_reallocarray(void *block, size_t count, size_t size);

/* A block aligned to alignment, a power of two; anything else fails with EINVAL.  size need not be
 * a multiple. */
HAK_ALLOCATES HAK_ALIGN(1) HAK_SIZE(2) void *hak_aligned_alloc(size_t alignment, size_t size);

/* Frees block; NULL is allowed.  Keeps errno.  A bad free ends the process with a line on stderr:
 * at once for an address that is no block or lies inside one, and for a block that is free
 * already.  Where several threads freed a small block, or share a heap, the double free may be
 * found later; where the block has been handed out again, it cannot be told from the new one's
 * free. */
HAK_API void hak_free(void *block);

/* Frees a block that was allocated with this size (C23 7.24.3.4).  A size above the block's, or
 * below half of it, ends the process. */
HAK_API void hak_free_sized(void *block, size_t size);

/* Frees a block from hak_aligned_alloc(alignment, size) (C23 7.24.3.5). */
HAK_API void hak_free_aligned_sized(void *block, size_t alignment, size_t size);

/* The bytes that may be used in block, at least what was asked for; constant until the block is
 * resized; 0 for NULL.  Ends the process as hak_free does if block is none. */
HAK_API size_t hak_usable_size(const void *block);

/* The bytes that hak_malloc(size) would really provide; size itself if that is above PTRDIFF_MAX,
 * and with hardening or sampling. */
HAK_API size_t hak_good_size(size_t size);

/* Gives back to the system what can be given back now, of all threads' heaps; returns 1 if anything
 * was, else 0.  Of empty slabs and of free runs of pages keep_bytes each are kept.  While another
 * thread forks it does nothing. */
HAK_API int hak_trim(size_t keep_bytes);

/* ---- First-class heaps ---- */

/* A new, empty heap, or NULL with ENOMEM, also while another thread forks.  Any thread may allocate
 * in it and free blocks of it.  For blocks that end together: of a request, a document, a plug-in.
 * Not for speed, since each call takes the heap's lock; and not for a few blocks each: the first
 * small one maps 2 MiB, and each size class that is used commits 64 KiB or more of these, resident
 * where they are touched.  Caps of size classes and guarded sampling do not apply. */
HAK_CREATES hak_heap_t *hak_heap_create(void);

/* Frees the heap and every block in it, in time proportional to its superslabs.  No thread may be
 * using the heap or any block of it.  Waits while another thread forks.  NULL is allowed; anything
 * that is not a live heap from hak_heap_create ends the process. */
HAK_API void hak_heap_destroy(hak_heap_t *heap);

/* hak_malloc, hak_calloc, hak_aligned_alloc and hak_realloc in this heap.  hak_realloc and hak_free
 * work on its blocks too: a block that hak_realloc resizes stays in its heap, one that
 * hak_heap_realloc has to move comes into this one. */
HAK_ALLOCATES HAK_SIZE(2) void *hak_heap_malloc(hak_heap_t *heap, size_t size);
HAK_ALLOCATES HAK_SIZE(2, 3) void *hak_heap_calloc(hak_heap_t *heap, size_t count, size_t size);
HAK_ALLOCATES HAK_ALIGN(2)
    HAK_SIZE(3) void *hak_heap_aligned_alloc(hak_heap_t *heap, size_t alignment, size_t size);
HAK_RESIZES HAK_SIZE(3) void *hak_heap_realloc(hak_heap_t *heap, void *block, size_t size);

/* ---- Limits ---- */

/* What HAKMEM may commit, in bytes.  Counted is what it has taken and may be resident: slabs and
 * runs in use or kept warm, direct mappings in use or kept, its own data; not the program's other
 * memory.  Both can be set by HAKMEM_LIMIT and HAKMEM_SOFT_LIMIT too.  Memory is checked where
 * slabs, runs and mappings are acquired: blocks that lie in free places are served beyond any
 * limit. */
typedef enum hak_limit {
    HAK_LIMIT_HARD, /* never exceeded: where reclaiming does not help, requests get ENOMEM */
    HAK_LIMIT_SOFT, /* exceeded, memory is reclaimed from everywhere, and the callback is called */
} hak_limit_t;

/* Sets a limit to bytes; 0 is none, the default.  A hard limit sets a reserve aside, 1/32 of it and
 * at most 8 MiB, that is refused until hak_limit_release_reserve.  A hard limit below what is
 * committed is not an error: nothing more is granted until it is met, and a line on stderr says
 * so.  Returns 0, or EINVAL if there is no such limit. */
HAK_API int hak_limit_set(hak_limit_t limit, size_t bytes);

/* The same in percent, 1 to 100, of the memory limit of the process's control group (the lowest of
 * its own and those above, version 2 or 1), as it is now; without one, of the physical memory, and
 * a line on stderr says so.  Returns 0, EINVAL, or ENOSYS if the process is shown neither: the
 * limit stays as it was. */
HAK_API int hak_limit_set_share(hak_limit_t limit, unsigned percent);

/* The limit in bytes; 0 for none, and if there is no such limit. */
HAK_API size_t hak_limit_get(hak_limit_t limit);

/* The bytes that count towards the limits now; without a limit too. */
HAK_API size_t hak_limit_committed(void);

/* What is called when reclaiming has not brought the committed bytes below the soft limit; again
 * only after they have grown by another sixteenth of it, or have been below.  It runs in a thread
 * that allocates, possibly in several at once, holding no lock of HAKMEM's but whatever the program
 * holds there; it may allocate and free, which does not call it again.  It must return: no
 * exception, no longjmp, or its thread never reclaims for the soft limit again. */
typedef void (*hak_limit_notify_t)(size_t committed_bytes, size_t limit_bytes);

/* Sets the callback; NULL is none, the default.  The last one set counts. */
HAK_API void hak_limit_notify(hak_limit_notify_t notify);

/* Makes the hard limit's reserve usable, to unwind on; hak_limit_set sets one aside again.  Returns
 * its bytes; 0 if there is none, or it has been released. */
HAK_API size_t hak_limit_release_reserve(void);

/* ---- The housekeeper ---- */

/* Starts a thread, named "hakmem", that gives memory back while the program is idle; without it,
 * that is done on the way by threads that allocate and free.  It blocks all signals, sleeps between
 * half a second and four seconds, and does not keep the process from ending.  After fork the child
 * has none, and starts one after a few allocations.  HAKMEM_HOUSEKEEPER=1 does the same.  Returns
 * 0, also if it is running, or an errno value. */
HAK_API int hak_housekeeper_start(void);

/* Ends that thread, soon; none is started any more.  Does nothing if there is none. */
HAK_API void hak_housekeeper_stop(void);

/* ---- Statistics ---- */

/* Where the bytes are.  A snapshot: each figure is exact for the moment it was read.  All figures
 * in bytes unless the name says otherwise.  While another thread forks nobody can look: all figures
 * are zero then, and no error is returned. */
typedef struct hak_stats {
    uint32_t struct_bytes; /* sizeof(hak_stats_t) of the library that filled it */
    uint32_t version;      /* hak_version() of it */
    uint64_t mapped_bytes; /* address space mapped: superslabs, areas, direct mappings, metadata */
    uint64_t committed_bytes; /* what may be resident of it; limits count tables, the refuge too */
    uint64_t in_use_bytes;    /* small blocks of the program and of caches, runs, direct mappings */
    uint64_t depot_bytes;     /* free blocks in the heaps' depots */
    uint64_t slab_free_bytes; /* free blocks in slabs that a heap owns */
    uint64_t pool_warm_bytes; /* empty slabs in the shared pool that are still committed */
    uint64_t metadata_bytes;  /* the allocator's own data */
    uint64_t large_bytes;     /* direct mappings in use */
    uint64_t run_bytes;       /* runs of pages in use, and on threads' shelves */
    uint64_t run_warm_bytes;  /* free runs of pages that are still committed */
    uint64_t large_cached_bytes; /* direct mappings kept for reuse */
    uint64_t superslabs;         /* number of superslabs mapped now */
    uint64_t heaps;              /* number of heaps */
    uint64_t stage_acquires
        [4]; /* slabs acquired by stage: 0.5 own empty, 1 warm, 2 unused slot, 3 new superslab */
    uint64_t remote_magazines; /* magazines handed from one heap's threads to another heap */
    uint64_t purged_bytes;     /* given back to the system so far */
    uint64_t cap_hits;         /* how often a size class was at its cap */

    /* The ledger: from what the program holds to what the kernel counts as resident, page by page.
     * live, cache, outgoing, inbox and depot_bytes less untouched_bytes, and all lines behind it,
     * make resident_bytes.  It is left out if stats_bytes ends before it: it asks the kernel once
     * for each 2 MiB, and for each slab with free blocks. */
    uint64_t live_bytes;      /* the program's blocks, what they waste inside included */
    uint64_t cache_bytes;     /* free blocks in the threads' caches, and runs on their shelves */
    uint64_t outgoing_bytes;  /* blocks freed by threads of other heaps, and still with these */
    uint64_t inbox_bytes;     /* such blocks in the heaps' inboxes */
    uint64_t untouched_bytes; /* of these and depot_bytes: never written to, or purged */
    uint64_t slab_free_resident_bytes; /* of the free blocks in slabs, what is resident */
    uint64_t slab_rest_bytes;          /* ends of slabs and spans behind their blocks */
    uint64_t pool_warm_resident_bytes; /* of the empty slabs in pools and heaps, what is resident */
    uint64_t run_warm_resident_bytes;  /* of the free runs of pages, what is resident */
    uint64_t excess_bytes; /* where nothing has ever been: resident by huge pages only */
    uint64_t
        large_cached_resident_bytes;  /* of the direct mappings kept for reuse, what is resident */
    uint64_t metadata_resident_bytes; /* of the allocator's own data, what is resident */
    uint64_t library_bytes;           /* the library's tables, without its code and constants */
    uint64_t
        refuge_bytes; /* what was allocated while forks were under way, and what is left of it */
    uint64_t resident_bytes; /* all of it: HAKMEM's share of the process's RSS */

    uint64_t huge_superslabs; /* superslabs that are of huge pages, if the system has them */
    uint64_t huge_refusals;   /* times that the system refused that: it is asked no more */
    uint64_t hole_bytes;      /* of slab_free_bytes, pages in slabs in use that have gone back */
} hak_stats_t;

/* Fills *stats, whose size the caller gives: fields that the library knows and the caller does not
 * are left out, and the other way round are zero.  Returns 0, or EINVAL if stats is NULL or
 * stats_bytes is below 8. */
HAK_API int hak_stats_get(hak_stats_t *stats, size_t stats_bytes);

/* Writes the report as text or JSON to the file descriptor, in one piece.  Allocates nothing.
 * Returns 0 or an errno value. */
HAK_API int hak_stats_print(int fd);
HAK_API int hak_stats_json(int fd);

/* Walks every heap and checks all that must hold.  Returns the number of violations found, each
 * reported in a line on stderr; 0 means the heaps are whole.  A thread that needs the heap being
 * walked waits for it.  While another thread forks it does nothing. */
HAK_API size_t hak_check(void);

#ifdef __cplusplus
}
#endif

#endif
