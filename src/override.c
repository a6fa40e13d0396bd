/*
 * override: the rest of glibc's malloc family, and C++'s operator new by its mangled names, so that
 * no C++ library is needed.  The names that are aliases of hak_ functions stand in front.c.
 * Compiles to nothing with HK_NO_OVERRIDE.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <hakmem/hakmem.h>
#include <malloc.h>
#include <stdio.h>

#include "front.h"
#include "log.h"
#include "os.h"

#ifndef HK_NO_OVERRIDE

/* No C header declares these. */
int posix_memalign(void **result, size_t alignment, size_t size);
void *_Znwm(size_t size);
void *_Znam(size_t size);
void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
void *_ZnamRKSt9nothrow_t(size_t size, const void *tag);
void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
void *_ZnamSt11align_val_t(size_t size, size_t alignment);
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag);
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag);

HAK_API size_t malloc_usable_size(void *block)
{
    return hak_usable_size(block);
}

HAK_API int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (!hk_is_power_of_two(alignment) || alignment % sizeof(void *) != 0) {
        return EINVAL;
    }
    int saved = errno;
    void *block = hak_aligned_alloc(alignment, size);
    errno = saved;
    if (block == NULL) {
        return ENOMEM;
    }
    *result = block;
    return 0;
}

/* As glibc's: an alignment that is no power of two is rounded up to one. */
HAK_API void *memalign(size_t alignment, size_t size)
{
    if (alignment > (size_t)1 << 62) {
        errno = EINVAL;
        return NULL;
    }
    unsigned log2 = alignment <= 1 ? 0 : 64u - (unsigned)__builtin_clzl(alignment - 1);
    return hak_aligned_alloc((size_t)1 << log2, size);
}

HAK_API void *valloc(size_t size)
{
    return hak_aligned_alloc(hk_os_page_bytes(), size);
}

HAK_API void *pvalloc(size_t size)
{
    size_t page_bytes = hk_os_page_bytes();
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return hak_aligned_alloc(page_bytes, hk_align_up(size == 0 ? 1 : size, page_bytes));
}

HK_ALIAS(memalign) void *__libc_memalign(size_t alignment, size_t size);
HK_ALIAS(valloc) void *__libc_valloc(size_t size);
HK_ALIAS(pvalloc) void *__libc_pvalloc(size_t size);

/* ---- glibc's statistics and settings ---- */

/* As glibc's: direct mappings are in hblkhd alone. */
HAK_API struct mallinfo2 mallinfo2(void)
{
    hak_stats_t stats;
    (void)hak_stats_get(&stats, offsetof(hak_stats_t, live_bytes));
    uint64_t free_bytes = stats.depot_bytes + stats.slab_free_bytes;
    return (struct mallinfo2){
        .arena = stats.mapped_bytes - stats.large_bytes - stats.large_cached_bytes,
        .ordblks = 1,
        .hblkhd = stats.large_bytes,
        .uordblks = stats.in_use_bytes - stats.large_bytes,
        .fordblks = free_bytes + stats.pool_warm_bytes + stats.run_warm_bytes,
        .keepcost = stats.pool_warm_bytes,
    };
}

static int clamp_int(size_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

HAK_API struct mallinfo mallinfo(void)
{
    struct mallinfo2 info = mallinfo2();
    return (struct mallinfo){
        .arena = clamp_int(info.arena),
        .ordblks = clamp_int(info.ordblks),
        .hblkhd = clamp_int(info.hblkhd),
        .uordblks = clamp_int(info.uordblks),
        .fordblks = clamp_int(info.fordblks),
        .keepcost = clamp_int(info.keepcost),
    };
}

HAK_API int malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        return EINVAL;
    }
    struct mallinfo2 info = mallinfo2();
    int written = fprintf(stream,
                          "<malloc version=\"hakmem-1\">\n"
                          "<system type=\"current\" size=\"%zu\"/>\n"
                          "<total type=\"mmap\" size=\"%zu\"/>\n"
                          "<total type=\"used\" size=\"%zu\"/>\n"
                          "<total type=\"rest\" size=\"%zu\"/>\n"
                          "</malloc>\n",
                          info.arena, info.hblkhd, info.uordblks, info.fordblks);
    return written < 0 ? EIO : 0;
}

HAK_API void malloc_stats(void)
{
    (void)hak_stats_print(2);
}

/* Accepts every setting; none has an effect. */
HAK_API int mallopt(int parameter, int value)
{
    (void)parameter;
    (void)value;
    return 1;
}

/* ---- C++ ---- */

typedef void (*new_handler_t)(void);

/* Absent from fully static programs. */
#pragma weak dlsym

/* Functions of the C++ runtime, if the program has one. */
__attribute__((weak)) new_handler_t _ZSt15get_new_handlerv(void);
__attribute__((weak, noreturn)) void _ZSt17__throw_bad_allocv(void);

/* What operator new does when there is no memory: the program's handler may find some, or
 * throws. */
static HK_COLD void *new_slow(size_t alignment, size_t size)
{
    for (;;) {
        new_handler_t handler = _ZSt15get_new_handlerv != NULL ? _ZSt15get_new_handlerv() : NULL;
        if (handler == NULL) {
            return NULL;
        }
        handler();
        void *block = hak_aligned_alloc(alignment, size);
        if (block != NULL) {
            return block;
        }
    }
}

static HK_COLD void *new_or_throw(size_t alignment, size_t size)
{
    void *block = new_slow(alignment, size);
    if (block == NULL) {
        if (_ZSt17__throw_bad_allocv == NULL) {
            hk_log_fatal("out of memory: operator new", NULL, "and no C++ runtime to throw");
        }
        _ZSt17__throw_bad_allocv();
    }
    return block;
}

/* A nothrow operator must not let an exception of the handler out, and C cannot catch one: the C++
 * runtime's own form, which calls our throwing one and catches, does that. */
static HK_COLD void *new_nothrow_slow(size_t alignment, size_t size)
{
    static const char nothrow_tag;
    const bool aligned = alignment > 1;
    void *next = dlsym != NULL ? dlsym(RTLD_NEXT, aligned ? "_ZnwmSt11align_val_tRKSt9nothrow_t"
                                                          : "_ZnwmRKSt9nothrow_t")
                               : NULL;
    if (next == NULL) {
        return new_slow(alignment, size);
    }
    return aligned ? ((void *(*)(size_t, size_t, const void *))next)(size, alignment, &nothrow_tag)
                   : ((void *(*)(size_t, const void *))next)(size, &nothrow_tag);
}

static void *new_plain(size_t size)
{
    void *block = hak_malloc(size);
    return HK_LIKELY(block != NULL) ? block : new_or_throw(1, size);
}

static void *new_plain_nothrow(size_t size)
{
    void *block = hak_malloc(size);
    return HK_LIKELY(block != NULL) ? block : new_nothrow_slow(1, size);
}

static void *new_aligned(size_t size, size_t alignment)
{
    void *block = hak_aligned_alloc(alignment, size);
    return HK_LIKELY(block != NULL) ? block : new_or_throw(alignment, size);
}

static void *new_aligned_nothrow(size_t size, size_t alignment)
{
    void *block = hak_aligned_alloc(alignment, size);
    return HK_LIKELY(block != NULL) ? block : new_nothrow_slow(alignment, size);
}

HAK_API void *_Znwm(size_t size)
{
    return new_plain(size);
}
HAK_API void *_Znam(size_t size)
{
    return new_plain(size);
}
HAK_API void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag)
{
    (void)tag;
    return new_plain_nothrow(size);
}
HAK_API void *_ZnamRKSt9nothrow_t(size_t size, const void *tag)
{
    (void)tag;
    return new_plain_nothrow(size);
}
HAK_API void *_ZnwmSt11align_val_t(size_t size, size_t alignment)
{
    return new_aligned(size, alignment);
}
HAK_API void *_ZnamSt11align_val_t(size_t size, size_t alignment)
{
    return new_aligned(size, alignment);
}
HAK_API void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag)
{
    (void)tag;
    return new_aligned_nothrow(size, alignment);
}
HAK_API void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag)
{
    (void)tag;
    return new_aligned_nothrow(size, alignment);
}
#endif
