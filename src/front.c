/*
 * front: the malloc family, under hak_ names and, unless HK_NO_OVERRIDE is set by the build, under
 * the C library's.
 *
 * free is the fast path of path.h.  malloc's is written out here for sizes up to HK_TABLE_MAX;
 * larger and aligned blocks take that of path.h.  Everything else here is cold or forwards.
 */
#include <errno.h>
#include <hakmem/hakmem.h>
#include <string.h>

#include "clear.h"
#include "front.h"
#include "large.h"
#include "limit.h"
#include "reject.h"
#include "run.h"

void *hk_front_fail(int error)
{
    errno = error;
    return NULL;
}

/* ---- Allocating ---- */

static HK_NOINLINE void *allocate_span(size_t size, size_t alignment, bool zeroed)
{
    bool fresh = false;
    if (size > PTRDIFF_MAX) {
        return hk_front_fail(ENOMEM);
    }
    void *block = hk_front_hand_out(hk_path_allocate_span(size, alignment, &fresh));
    if (block == NULL) {
        return hk_front_fail(ENOMEM);
    }
    return zeroed && !fresh ? hk_clear(block, size) : block;
}

/* For when the magazines have been tried, or must not serve: asks the heap.  malloc jumps here, so
 * this function returns to malloc's caller. */
static HK_NOINLINE void *malloc_past_magazines(size_t size)
{
    void *block = hk_front_hand_out(
        hk_path_malloc_slow(hk_class_of(size), size, 1, __builtin_return_address(0)));
    return block != NULL ? block : hk_front_fail(ENOMEM);
}

/* Hardening's own fast path: with hardening every malloc comes here. */
static HK_HOT void *malloc_hardened(size_t size)
{
    hk_cache_t *cache = hk_thread_own;
    void *block =
        HK_LIKELY(hk_load_relaxed(&cache->quick_malloc) &&
                  size - 1 < HK_TABLE_MAX - HK_CANARY_TAIL_BYTES)
            ? hk_path_pop_hardened(cache, hk_class_table[size + HK_CANARY_TAIL_BYTES], size)
            : NULL;
    return HK_LIKELY(block != NULL) ? block : malloc_past_magazines(size);
}

/* Takes the size again, so that the fast path need not keep the class for it. */
static HK_COLD void *malloc_slow(size_t size)
{
    void *block = hk_path_pass(hk_class_table[size]);
    if (block != NULL) {
        return hk_front_hand_out(block);
    }
    if (HK_UNLIKELY(hk_options.harden != 0 && hk_options.guard_sample == 0)) {
        return malloc_hardened(size);
    }
    return malloc_past_magazines(size);
}

static HK_NOINLINE void *malloc_beyond_table(size_t size)
{
    if (size > HK_SMALL_MAX) {
        return allocate_span(size, 1, false);
    }
    void *block = hk_path_try_malloc(hk_class_compute(size));
    return HK_LIKELY(block != NULL) ? hk_front_hand_out(block) : malloc_past_magazines(size);
}

HAK_API HK_FAST void *hak_malloc(size_t size)
{
    if (HK_UNLIKELY(size > HK_TABLE_MAX)) {
        return malloc_beyond_table(size);
    }
    size_t class_index = hk_class_table[size];
    hk_cache_t *cache = hk_load_relaxed(&hk_thread_view.by_malloc); /* relaxed: see cache.h */
    void **top = cache->top[class_index];
    void *block = top[0];
#if defined(__x86_64__)
    __asm__("" : "+a"(block)); /* where it is returned */
#endif
    if (HK_UNLIKELY(block == NULL)) { /* empty: see magazine.h */
        return malloc_slow(size);
    }
    HK_OPAQUE(class_index); /* else two instructions do what one on memory does */
    cache->top[class_index]--;
    hk_live_set(block);
    return hk_front_hand_out(block);
}

HAK_API void *hak_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return hk_front_fail(ENOMEM);
    }
    if (bytes > HK_SMALL_MAX) {
        return allocate_span(bytes, 1, true);
    }
    void *block = hak_malloc(bytes);
    return block == NULL ? NULL : memset(block, 0, bytes);
}

static void *allocate_aligned(size_t alignment, size_t size)
{
    unsigned class_index = hk_class_of_aligned(size, alignment);
    if (class_index == HK_CLASS_COUNT) {
        return allocate_span(size, alignment, false);
    }
    void *block = hk_path_try_malloc(class_index);
    if (HK_UNLIKELY(block == NULL)) {
        block = hk_path_malloc_slow(class_index, size, alignment, __builtin_return_address(0));
    }
    return hk_front_hand_out(block) != NULL ? block : hk_front_fail(ENOMEM);
}

HAK_API void *hak_aligned_alloc(size_t alignment, size_t size)
{
    if (!hk_is_power_of_two(alignment)) {
        return hk_front_fail(EINVAL);
    }
    if (size > PTRDIFF_MAX || alignment > PTRDIFF_MAX) {
        return hk_front_fail(ENOMEM);
    }
    return allocate_aligned(alignment, size);
}

/* ---- Freeing ---- */

HAK_API HK_FAST void hak_free(void *block)
{
    hk_front_take_back(block);
}

HAK_API size_t hak_usable_size(const void *block)
{
    return block == NULL ? 0
                         : hk_path_usable_bytes(block, "invalid pointer: usable size",
                                                "invalid pointer: usable size");
}

/* Set for good when realloc found no smaller place for a block: then it may be larger than
 * least_kept allows. */
static _Atomic bool some_stayed;

/* The least size to which a small block of so many bytes is resized where it is.  Programs that
 * make a string or a list as large as it may become, and then trim it, have many blocks that are
 * too large, so one moves if more than a quarter of it would be left over (docs/adr/0016). */
HK_INLINE size_t least_kept(size_t usable)
{
    return usable - usable / 4;
}

static bool is_run(const void *block)
{
    const hk_region_t *region = hk_registry_find(block);
    return region != NULL && region->kind == HK_REGION_RUNS;
}

/* Whether a block of so many bytes stays as it is when it is resized; the size may also be more.
 * Pages behind a run can be cut off without a system call, those of a direct mapping cannot; but
 * not the room that a run has got to grow into. */
static bool is_worth_keeping(const void *block, size_t usable, size_t size)
{
    if (usable > HK_SMALL_MAX && is_run(block)) {
        return size >= usable - usable / 8 ||
               hk_path_good_size(hk_policy_growing_bytes(size), 1) >= usable;
    }
    if (usable > HK_SMALL_MAX) {
        return size >= usable / 2;
    }
    return size >= least_kept(usable) || hk_path_good_size(size, 1) == usable;
}

/* Ends the process if the size is not the block's.  A block may be larger than its last realloc
 * needed; with hardening its size is known exactly.  Relaxed: a block that comes from another
 * thread brings along what that thread wrote before. */
static void check_size(const void *block, size_t alignment, size_t size)
{
    size_t usable = hk_path_usable_bytes(block, "invalid free", "double free");
    size_t least = usable <= HK_SMALL_MAX ? least_kept(usable) : usable / 2;
    bool wrong = hk_path_is_exact(block)
                     ? size != usable
                     : size > usable || (hk_path_good_size(size, alignment) < least &&
                                         !hk_load_relaxed(&some_stayed));
    if (wrong) {
        hk_reject_block("invalid free", block, "the size given is not the block's");
    }
}

HAK_API void hak_free_sized(void *block, size_t size)
{
    if (block != NULL) {
        check_size(block, 1, size);
        hk_front_take_back(block);
    }
}

HAK_API void hak_free_aligned_sized(void *block, size_t alignment, size_t size)
{
    if (block != NULL) {
        if (!hk_is_power_of_two(alignment) || ((uintptr_t)block & (alignment - 1)) != 0) {
            hk_reject_block("invalid free", block, "the alignment given is not the block's");
        }
        check_size(block, alignment, size);
        hk_front_take_back(block);
    }
}

HAK_API size_t hak_good_size(size_t size)
{
    bool exact = hk_options.harden != 0 || hk_options.guard_sample != 0; /* or the block may be */
    return size > PTRDIFF_MAX || exact ? size : hk_path_good_size(size, 1);
}

/* ---- Resizing ---- */

/* The first-class heap that a block lives in; NULL for a thread's. */
static hk_heap_t *owned_heap_of(const void *block)
{
    if (hk_path_is_threads(block)) {
        return NULL;
    }
    hk_region_t *region = hk_registry_find(block);
    hk_heap_t *heap = NULL;
    if (region->kind == HK_REGION_SUPERSLAB) {
        heap = hk_superslab_slab_at((hk_superslab_t *)region, block)->heap;
    } else if (region->kind == HK_REGION_RUNS) {
        const hk_run_t *run = hk_run_find((hk_run_area_t *)region, block);
        heap = run != NULL ? run->heap : NULL;
    } else if (region->kind == HK_REGION_LARGE) {
        heap = ((hk_large_t *)region)->heap;
    }
    return heap != NULL && heap->owner == HK_OWNER_NONE ? heap : NULL;
}

/* There is no place for a smaller block: it stays where it is. */
static HK_COLD void *stay(void *block)
{
    hk_store_relaxed(&some_stayed, true); /* relaxed: see check_size */
    return block;
}

/* Copies the first bytes of a block to another, frees the block, and returns the other. */
HK_INLINE void *carry_over(void *moved, void *block, size_t bytes)
{
    memcpy(moved, block, bytes);
    hk_front_take_back(block);
    return moved;
}

void *hk_front_resize(hk_heap_t *heap, void *block, size_t size)
{
    size_t usable =
        hk_path_usable_bytes(block, "invalid pointer: realloc", "invalid pointer: realloc");
    if (size > PTRDIFF_MAX || (size > usable && !hk_limit_is_possible(size, 1))) {
        return hk_front_fail(ENOMEM);
    }
    if (is_worth_keeping(block, usable, size) && hk_path_try_refit(block, usable, size)) {
        return block;
    }
    /* Then its pages may move. */
    bool stays_in_heap = heap == NULL || heap == owned_heap_of(block);
    if (usable > HK_SMALL_MAX && stays_in_heap) {
        void *resized = hk_path_resize(block, size);
        if (resized != NULL) {
            return hk_front_hand_out(resized);
        }
    }
    heap = heap != NULL ? heap : owned_heap_of(block);
    bool grows = size > usable && usable > HK_SMALL_MAX;
    void *moved = heap != NULL ? hk_front_allocate_in(heap, 1, size, false)
                  : grows      ? hk_front_hand_out(hk_path_allocate_growing(size))
                               : hak_malloc(size);
    if (moved == NULL && grows && stays_in_heap) {
        /* Where there was no memory for both, there may be for the rest, now that all that was free
         * has gone. */
        void *resized = hk_path_resize(block, size);
        return resized != NULL ? hk_front_hand_out(resized) : hk_front_fail(ENOMEM);
    }
    if (moved == NULL) {
        /* A smaller block can always stay where it is. */
        bool stays = size <= usable && hk_path_try_refit(block, usable, size);
        return stays ? stay(block) : hk_front_fail(ENOMEM);
    }
    return carry_over(moved, block, hk_least(size, usable));
}

/* The same for a live block that the near table knows, which no first-class heap and no hardening
 * has. */
static HK_NOINLINE void *move_small(void *block, size_t bytes, size_t size)
{
    if (size < bytes && hk_path_good_size(size, 1) == bytes) {
        return block;
    }
    void *moved = hak_malloc(size);
    if (moved == NULL) {
        return size > bytes ? NULL : stay(block);
    }
    return carry_over(moved, block, hk_least(size, bytes));
}

HAK_API void *hak_realloc(void *block, size_t size)
{
    size_t bytes = hk_path_near_bytes(block);
    if (bytes != 0 && size != 0) {
        if (size <= bytes && size >= least_kept(bytes)) {
            return block; /* a string that grows by a few bytes */
        }
        return move_small(block, bytes, size);
    }
    if (block == NULL) {
        return hak_malloc(size);
    }
    if (size == 0) {
        hk_front_take_back(block);
        return NULL;
    }
    return hk_front_resize(NULL, block, size);
}

HAK_API void *hak_reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return hk_front_fail(ENOMEM);
    }
    return hak_realloc(block, bytes);
}

HAK_API int hak_trim(size_t keep_bytes)
{
    return hk_path_trim(keep_bytes) > 0;
}

HAK_API int hak_version(void)
{
    return HAKMEM_VERSION_MAJOR * 10000 + HAKMEM_VERSION_MINOR * 100 + HAKMEM_VERSION_PATCH;
}

/* ---- The C library's names: the same functions ---- */

#ifndef HK_NO_OVERRIDE
/* The names with __libc_ are glibc's too: a program that has a malloc of its own on top of them may
 * leave realloc and strdup alone, and all of them must be of one allocator. */
#define HK_ALIAS_TABLE(X)                                                                          \
    X(void *, malloc, (size_t size), hak_malloc)                                                   \
    X(void *, calloc, (size_t count, size_t size), hak_calloc)                                     \
    X(void *, realloc, (void *block, size_t size), hak_realloc)                                    \
    X(void *, aligned_alloc, (size_t alignment, size_t size), hak_aligned_alloc)                   \
    X(void, free, (void *block), hak_free)                                                         \
    X(void, cfree, (void *block), hak_free)                                                        \
    X(void *, __libc_malloc, (size_t size), hak_malloc)                                            \
    X(void *, __libc_calloc, (size_t count, size_t size), hak_calloc)                              \
    X(void *, __libc_realloc, (void *block, size_t size), hak_realloc)                             \
    X(void, __libc_free, (void *block), hak_free)                                                  \
    X(void, free_sized, (void *block, size_t size), hak_free_sized)                                \
    X(void, free_aligned_sized, (void *block, size_t alignment, size_t size),                      \
      hak_free_aligned_sized)                                                                      \
    X(int, malloc_trim, (size_t keep_bytes), hak_trim)

#define X(type, name, parameters, target) HK_ALIAS(target) type name parameters;
HK_ALIAS_TABLE(X)
#undef X
#endif
