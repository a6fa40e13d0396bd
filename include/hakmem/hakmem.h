/*
 * HAKMEM: the public interface.
 *
 * Linking with the library, or preloading it, already replaces the whole malloc family; that needs
 * nothing from this header.  The header declares the same family under its own names, first-class
 * heaps, limits, statistics and the whole-heap check.  Options are set in the environment, as in
 * HAKMEM_LIMIT=80%; README.md and hakmem(3) list them all.  The man page hakmem(3) also has
 * examples, and says how to link.
 *
 * Unless a function's comment says otherwise:
 * - it is thread-safe, and not async-signal-safe;
 * - sizes are in bytes, and blocks are aligned to 16;
 * - an allocating function that fails returns NULL and sets errno to ENOMEM;
 * - a block from any allocating function here may be freed by any freeing function here or in
 *   <stdlib.h>, and the other way round; but not where HAKMEM is linked into a plugin only, which
 *   has to be written in C: there malloc and free are the program's, and have nothing to do with
 *   hak_malloc and hak_free;
 * - it is there since version 1.0.
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

#define HAK_API __attribute__((__visibility__("default")))

typedef struct hk_heap hak_heap_t;

/* What compilers are told about the functions below.
 * Their names have underscores, since a program may have a macro malloc.
 * HAK_SIZE: which argument is the block's size.  _FORTIFY_SOURCE takes its bounds from it; as with
 * malloc these are the size asked for, even if hak_usable_size is more.
 * HAK_FREED: what may free the block; gcc warns of anything else (-Wmismatched-dealloc).  It also
 * warns where a hak_ function frees a block of malloc's.  That works; to have no warning, call
 * free, which works too. */
#define HAK_SIZE(...) __attribute__((__alloc_size__(__VA_ARGS__)))
#define HAK_ALIGN(parameter) __attribute__((__alloc_align__(parameter)))
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
HAK_API void hak_free(void *block);
HAK_API void hak_free_sized(void *block, size_t size);
HAK_API void hak_free_aligned_sized(void *block, size_t alignment, size_t size);
HAK_API void *hak_realloc(void *block, size_t size);
HAK_API void *hak_reallocarray(void *block, size_t count, size_t size);
HAK_API void *hak_heap_realloc(hak_heap_t *heap, void *block, size_t size);
HAK_API void hak_heap_destroy(hak_heap_t *heap);
#define HAK_FREED                                                                                  \
    __attribute__((__malloc__(hak_free), __malloc__(hak_free_sized),                               \
                   __malloc__(hak_free_aligned_sized), __malloc__(hak_realloc),                    \
                   __malloc__(hak_reallocarray), __malloc__(hak_heap_realloc, 2),                  \
                   __malloc__(__builtin_free), __malloc__(__builtin_realloc)))
#define HAK_DESTROYED __attribute__((__malloc__(hak_heap_destroy)))
#else
#define HAK_FREED
#define HAK_DESTROYED
#endif
#define HAK_RESIZES HAK_API HAK_FREED __attribute__((__warn_unused_result__))
#define HAK_ALLOCATES HAK_RESIZES __attribute__((__malloc__))
#define HAK_CREATES HAK_API HAK_DESTROYED __attribute__((__malloc__, __warn_unused_result__))

/* The version of the library that is running, as major * 10000 + minor * 100 + patch. */
HAK_API int hak_version(void);

/* ---- The malloc family (ISO C11 7.22.3, C23, POSIX.1-2017, glibc) ---- */

/* Returns a block of at least size bytes, uninitialised.  A size of 0 gives a block of its own, a
 * size above PTRDIFF_MAX fails. */
HAK_ALLOCATES HAK_SIZE(1) void *hak_malloc(size_t size);

/* Returns a zeroed block for count elements of size bytes each; fails if the product overflows. */
HAK_ALLOCATES HAK_SIZE(1, 2) void *hak_calloc(size_t count, size_t size);

/* Resizes block, and returns where it is now: it may move.  Its first min(old, new) bytes are kept.
 * On failure block stays valid, with its old size.  hak_realloc(NULL, n) is hak_malloc(n);
 * hak_realloc(p, 0) frees p and returns NULL, as glibc's does. */
HAK_RESIZES HAK_SIZE(2) void *hak_realloc(void *block, size_t size);

/* hak_realloc(block, count * size); fails if the product overflows (glibc, POSIX.1-2024). */
HAK_RESIZES HAK_SIZE(2, 3) void *hak_reallocarray(void *block, size_t count, size_t size);

/* Returns a block of at least size bytes that is aligned to alignment.  alignment must be a power
 * of two, or the function fails with EINVAL.  size need not be a multiple of it.  While another
 * thread forks, an alignment of 2 MiB or more may be refused with ENOMEM. */
HAK_ALLOCATES HAK_ALIGN(1) HAK_SIZE(2) void *hak_aligned_alloc(size_t alignment, size_t size);

/* Frees block; NULL is allowed.  Keeps errno.  A bad free ends the process with a line on stderr.
 * It does so at once if the address is no block or lies inside one, or if the block is free
 * already.  Exceptions: where several threads freed a small block, or share a heap, the double free
 * may be found later; where the block has been handed out again, it cannot be told from the new
 * block's free. */
HAK_API void hak_free(void *block);

/* Frees a block that was allocated with this size (C23 7.24.3.4); NULL is allowed.  The process
 * ends if the size is above hak_usable_size(block), or so small that a block for it would have less
 * than three quarters of that, or less than half if that is above 64 KiB.  The latter is no longer
 * looked for once hak_realloc has left a block as large as it was, for want of memory for a smaller
 * one.  Other wrong sizes are not noticed, but with hardening every wrong size ends the process. */
HAK_API void hak_free_sized(void *block, size_t size);

/* Frees a block from hak_aligned_alloc(alignment, size) (C23 7.24.3.5); NULL is allowed.  A block
 * that is not so aligned ends the process, and a wrong size is noticed as above. */
HAK_API void hak_free_aligned_sized(void *block, size_t alignment, size_t size);

/* Returns how many bytes of block may be used, as glibc's malloc_usable_size: at least what was
 * asked for.  The figure stays the same until the block is resized; it is 0 for NULL.  If block is
 * not a block, the process ends, as in hak_free. */
HAK_API size_t hak_usable_size(const void *block);

/* Returns how many bytes hak_malloc(size) would provide at least; above 32 MiB, where a mapping
 * that is kept for reuse may serve, it can be up to a third more.  It is size itself with hardening
 * or sampling, and for a size above PTRDIFF_MAX. */
HAK_API size_t hak_good_size(size_t size);

/* Gives back to the system what can be given back now, of all heaps, except keep_bytes of empty
 * slabs and keep_bytes of free runs of pages that all threads share; glibc's malloc_trim is the
 * same function.  What other threads have in their caches stays.  Returns 1 if anything was given
 * back, else 0.  While another thread forks it does nothing and returns 0. */
HAK_API int hak_trim(size_t keep_bytes);

/* ---- First-class heaps ---- */

/* Returns a new, empty heap; NULL and ENOMEM if there is no memory, or while another thread forks.
 * Any thread may allocate in it and free blocks of it.  Heaps are for blocks that end together:
 * those of a request, a document, a plug-in.  They are not for speed, since each call takes the
 * heap's lock.  They are not for a few blocks each either: the first small block maps 2 MiB, and
 * each size class that is used commits 64 KiB or more of these, resident where they are touched.
 * Caps of size classes and guarded sampling do not apply. */
HAK_CREATES hak_heap_t *hak_heap_create(void);

/* Frees the heap and every block in it, in time proportional to its superslabs, not to its blocks.
 * No other thread may be using the heap or any block of it.  Waits while another thread forks.
 * NULL is allowed; anything else that is not a live heap from hak_heap_create ends the process.
 * A heap that is destroyed twice is not told from a new one that has taken its place. */
HAK_API void hak_heap_destroy(hak_heap_t *heap);

/* As hak_malloc, hak_calloc, hak_aligned_alloc and hak_realloc, in this heap.  hak_realloc and
 * hak_free work on its blocks too.  A block that hak_realloc resizes stays in the heap it is in; a
 * block that hak_heap_realloc has to move comes into this heap.  heap must be a live heap from
 * hak_heap_create.  That is not checked: with NULL, or a heap that was destroyed, the behaviour is
 * undefined. */
HAK_ALLOCATES HAK_SIZE(2) void *hak_heap_malloc(hak_heap_t *heap, size_t size);
HAK_ALLOCATES HAK_SIZE(2, 3) void *hak_heap_calloc(hak_heap_t *heap, size_t count, size_t size);
HAK_ALLOCATES HAK_ALIGN(2)
    HAK_SIZE(3) void *hak_heap_aligned_alloc(hak_heap_t *heap, size_t alignment, size_t size);
HAK_RESIZES HAK_SIZE(3) void *hak_heap_realloc(hak_heap_t *heap, void *block, size_t size);

/* ---- Limits ---- */

/* What HAKMEM may commit, in bytes.  Counted is what it has taken and what may be resident: slabs
 * and runs in use or kept warm, direct mappings in use or kept, and its own data; not the program's
 * other memory.  HAKMEM_LIMIT and HAKMEM_SOFT_LIMIT set the same two limits.  They are checked
 * where slabs, runs and mappings are acquired; a block that fits into memory which is committed
 * already is served beyond any limit. */
typedef enum hak_limit {
    HAK_LIMIT_HARD, /* never exceeded: where reclaiming does not help, requests get ENOMEM */
    HAK_LIMIT_SOFT, /* above it memory is reclaimed from everywhere, and the callback is called */
} hak_limit_t;

/* Sets a limit to bytes; 0, the default, is no limit.  Of a hard limit a reserve is set aside, 1/32
 * of it, but at most 8 MiB, and at least 256 KiB or, if that is less, a quarter of it.  No request
 * gets that until hak_limit_release_reserve.  A hard limit below what is committed is not an error:
 * nothing more is granted until less is committed, and a line on stderr says so.  Returns 0, or
 * EINVAL if there is no such limit; errno is not set. */
HAK_API int hak_limit_set(hak_limit_t limit, size_t bytes);

/* Sets a limit to a share, 1 to 100 percent, of the memory limit that the process's control group
 * has now: the lowest of its own and those of the groups above it, version 2 or 1.  If there is
 * none, the share is of the physical memory, and a line on stderr says so.  Returns 0; EINVAL for
 * any other limit or percentage; ENOSYS if the process can see neither figure, and the limit stays
 * as it was. */
HAK_API int hak_limit_set_share(hak_limit_t limit, unsigned percent);

/* Returns the limit in bytes; 0 if none is set, or if there is no such limit. */
HAK_API size_t hak_limit_get(hak_limit_t limit);

/* Returns the bytes that count towards the limits now, whether or not one is set. */
HAK_API size_t hak_limit_committed(void);

/* The callback.  It is called when reclaiming has not brought the committed bytes below the soft
 * limit; and again only after they have grown by another sixteenth of the limit, or have fallen to
 * a sixteenth below it.  It runs in a thread that allocates, possibly in several at once.  That
 * thread holds no lock of HAKMEM's, but it may hold any of the program's.  The callback may
 * allocate and free, which does not call it again.  It must return: after an exception or a longjmp
 * out of it, its thread never reclaims for the soft limit again. */
typedef void (*hak_limit_notify_t)(size_t committed_bytes, size_t limit_bytes);

/* Sets the callback, in the place of the one before; NULL, the default, is none. */
HAK_API void hak_limit_notify(hak_limit_notify_t notify);

/* Makes the hard limit's reserve usable, for the program to unwind on; hak_limit_set sets one aside
 * again.  Returns the reserve's bytes; 0 if there is none, or it has been released already. */
HAK_API size_t hak_limit_release_reserve(void);

/* ---- The housekeeper ---- */

/* Starts a thread, named "hakmem", that gives memory back while the program is idle.  Without it,
 * only threads that allocate and free give memory back, on the way.  The thread blocks all signals,
 * sleeps for twice HAKMEM_DECAY, half a second, to four seconds at a time, or for the former if it
 * is more, and does not keep the process from ending.  A forked child has none, and starts one
 * after a few allocations.  HAKMEM_HOUSEKEEPER=1 does the same.  Returns 0, also if the thread is
 * running already, or the error number that pthread_create gave, mostly EAGAIN: there is no room
 * for another thread; errno is not set. */
HAK_API int hak_housekeeper_start(void);

/* Tells that thread to end, which it does soon; none is started until the next
 * hak_housekeeper_start.  Does nothing if there is none. */
HAK_API void hak_housekeeper_stop(void);

/* ---- Statistics ---- */

/* Where the bytes are: a snapshot, in which each figure is exact for the moment it was read.  All
 * figures are in bytes unless the name says otherwise.  While another thread forks nobody can look:
 * all figures are zero then, and no error is returned. */
typedef struct hak_stats {
    uint32_t struct_bytes; /* sizeof(hak_stats_t) of the library that filled it */
    uint32_t version;      /* hak_version() of it */
    uint64_t mapped_bytes; /* address space mapped: superslabs, areas, direct mappings, metadata */
    uint64_t committed_bytes; /* what of it may be resident; limits count tables, the refuge too */
    uint64_t in_use_bytes;    /* small blocks of the program and of caches, runs, direct mappings */
    uint64_t depot_bytes;     /* free blocks in the heaps' depots */
    uint64_t slab_free_bytes; /* free blocks in slabs that a heap owns */
    uint64_t pool_warm_bytes; /* empty slabs in pools that are still committed */
    uint64_t metadata_bytes;  /* the allocator's own data */
    uint64_t large_bytes;     /* direct mappings in use */
    uint64_t run_bytes;       /* runs of pages in use, and on threads' shelves */
    uint64_t run_warm_bytes;  /* free runs of pages that are still committed */
    uint64_t large_cached_bytes; /* direct mappings kept for reuse */
    uint64_t superslabs;         /* number of superslabs now */
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
    uint64_t converted_superslabs; /* superslabs made of free runs, or turned into such, so far */
} hak_stats_t;

/* Fills *stats.  stats_bytes is the caller's sizeof(hak_stats_t): fields that the library knows and
 * the caller does not are left out, and fields that the caller knows and the library does not are
 * zero.  Returns 0, or EINVAL if stats is NULL or stats_bytes is below 8. */
HAK_API int hak_stats_get(hak_stats_t *stats, size_t stats_bytes);

/* Writes the report to the file descriptor, as text or as JSON, in one piece.  Allocates nothing.
 * Beyond the figures above the text names the options that are not at their default, and the size
 * classes with most bytes free between live blocks, if these are much; the JSON has all classes.
 * Returns 0, or the error number of the write that failed: EBADF, ENOSPC, EAGAIN where the
 * descriptor does not block, EPIPE without a SIGPIPE, and so on.  A part of the report may have
 * been written then; errno is not set.  A thread that writes one while another thread does needs
 * 24 KiB of stack for it, and so does a child if another thread did when it was forked. */
HAK_API int hak_stats_print(int fd);
HAK_API int hak_stats_json(int fd);

/* Walks every heap and checks all that must hold.  Each violation is a line on stderr.  Returns
 * their number; 0 means that the heaps are whole.  A thread that needs the heap which is being
 * walked waits for it.  While another thread forks the function does nothing and returns 0. */
HAK_API size_t hak_check(void);

#ifdef __cplusplus
}
#endif

#endif
