/*
 * override: the rest of glibc's malloc family.  The names that are aliases of hak_ functions stand
 * in front.c.
 * Compiles to nothing with HK_NO_OVERRIDE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <hakmem/hakmem.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>

#include "front.h"
#include "occupancy.h"
#include "os.h"

#ifndef HK_NO_OVERRIDE

/* malloc.h does not declare it. */
int posix_memalign(void **result, size_t alignment, size_t size);

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

/* As glibc's: asks for realloc by its name, which may be the program's own. */
HAK_API void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return hk_front_fail(ENOMEM);
    }
    return realloc(block, bytes);
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

/* As glibc's: direct mappings in use are in hblkhd alone, and arena is the sum of what else is in
 * use and what is free. */
HAK_API struct mallinfo2 mallinfo2(void)
{
    hak_stats_t stats;
    (void)hak_stats_get(&stats, offsetof(hak_stats_t, live_bytes));
    uint64_t used_bytes = stats.in_use_bytes - stats.large_bytes;
    uint64_t free_bytes = stats.depot_bytes + stats.slab_free_bytes + stats.pool_warm_bytes +
                          stats.run_warm_bytes + stats.large_cached_bytes;
    return (struct mallinfo2){
        .arena = used_bytes + free_bytes,
        .ordblks = 1,
        .hblkhd = stats.large_bytes,
        .uordblks = used_bytes,
        .fordblks = free_bytes,
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

/* Not inlined: the stack of a small thread is to have room for this and for fprintf's buffer, one
 * after the other. */
HK_NOINLINE static void collect_free_blocks(uint64_t free_blocks[HK_CLASS_COUNT])
{
    hk_occupancy_t occupancy;
    hk_occupancy_collect(&occupancy);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        const hk_occupancy_class_t *class = &occupancy.classes[class_index];
        free_blocks[class_index] = class->free_bytes / class->block_bytes;
    }
}

/* As glibc's: for each size of which blocks are free in slabs, how many and how large together. */
static bool print_sizes(FILE *stream)
{
    uint64_t free_blocks[HK_CLASS_COUNT];
    uint32_t from = 1;
    collect_free_blocks(free_blocks);
    bool printed = fputs("<heap nr=\"0\">\n<sizes>\n", stream) >= 0;
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        uint32_t to = hk_class_info[class_index].block_bytes;
        uint64_t count = free_blocks[class_index];
        if (count != 0) {
            printed &= fprintf(stream,
                               "  <size from=\"%" PRIu32 "\" to=\"%" PRIu32 "\" total=\"%" PRIu64
                               "\" count=\"%" PRIu64 "\"/>\n",
                               from, to, count * to, count) >= 0;
        }
        from = to + 1;
    }
    return printed & (fputs("</sizes>\n</heap>\n", stream) >= 0);
}

HAK_API int malloc_info(int options, FILE *stream)
{
    if (options != 0) {
        return EINVAL;
    }
    struct mallinfo2 info = mallinfo2();
    bool printed = fputs("<malloc version=\"hakmem-1\">\n", stream) >= 0;
    printed &= print_sizes(stream);
    printed &= fprintf(stream,
                       "<system type=\"current\" size=\"%zu\"/>\n"
                       "<total type=\"mmap\" size=\"%zu\"/>\n"
                       "<total type=\"used\" size=\"%zu\"/>\n"
                       "<total type=\"rest\" size=\"%zu\"/>\n"
                       "</malloc>\n",
                       info.arena, info.hblkhd, info.uordblks, info.fordblks) >= 0;
    return printed ? 0 : EIO;
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
#endif
