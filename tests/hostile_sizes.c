/* Requests that cannot be met, and should not be by wrapping round; functions called with
 * nonsense. */
#include "hostile_cases.h"

static int granted(void *block)
{
    return hide(block) != NULL ? WORKS : REFUSED;
}

CASE(calloc_wraps)
{
    return granted(calloc(SIZE_MAX / 16 + 2, 16));
}

CASE(calloc_wraps_to_nothing)
{
    return granted(calloc((size_t)1 << 32, (size_t)1 << 32));
}

CASE(reallocarray_wraps)
{
    return granted(reallocarray(NULL, SIZE_MAX / 16 + 2, 16));
}

CASE(malloc_wraps)
{
    return granted(malloc((size_t)-1));
}

CASE(malloc_wraps_by_header)
{
    return granted(malloc((size_t)-32));
}

CASE(malloc_half_of_all)
{
    return granted(malloc(PTRDIFF_MAX + (size_t)1));
}

CASE(realloc_wraps)
{
    return granted(realloc(block_of(40), (size_t)-16));
}

CASE(memalign_wraps)
{
    return granted(aligned_alloc(4096, (size_t)-64));
}

CASE(pvalloc_wraps)
{
    return granted(pvalloc((size_t)-1));
}

CASE(alignment_of_3)
{
    void *block = NULL;
    return posix_memalign(&block, 3, 64) == 0 ? WORKS : REFUSED;
}

CASE(alignment_of_4)
{
    void *block = NULL;
    return posix_memalign(&block, 4, 64) == 0 ? WORKS : REFUSED;
}

CASE(alignment_of_half_of_all)
{
    return granted(aligned_alloc((size_t)1 << 63, 64));
}

CASE(mallopt_nonsense)
{
    mallopt(12345, -1);
    mallopt(M_MMAP_THRESHOLD, -1);
    mallopt(M_ARENA_MAX, -7);
    malloc_trim(SIZE_MAX);
    char *block = block_of(100);
    free(block);
    return HARMLESS;
}
