/*
 * A program that has a malloc and a free of its own, on top of glibc's __libc_ names, and leaves
 * the rest of the family as it is: all of them are of one allocator; run with
 * LD_PRELOAD=libhakmem.so.
 */
#include "test.h"

#include <malloc.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void *__libc_valloc(size_t size);
extern void *__libc_pvalloc(size_t size);

static unsigned mallocs, frees;

void *malloc(size_t size)
{
    mallocs++;
    return __libc_malloc(size);
}

void free(void *block)
{
    frees++;
    __libc_free(block);
}

static void *(*volatile v_malloc)(size_t) = malloc;
static void *(*volatile v_realloc)(void *, size_t) = realloc;

/* A block of any function can be resized and freed by any other. */
static void take(void *block, size_t size, size_t alignment)
{
    CHECK(block != NULL && test_is_aligned(block, alignment));
    CHECK(malloc_usable_size(block) >= size);
    memset(block, 1, size);
    char *moved = (char *)v_realloc(block, 3 * size);
    CHECK(moved != NULL && moved[0] == 1 && moved[size - 1] == 1);
    free(moved);
}

static void take_from_all(size_t size)
{
    enum { ALIGNMENT = 1024, PAGE = 4096 };
    take(v_malloc(size), size, 16);
    take(calloc(1, size), size, 16);
    take(v_realloc(NULL, size), size, 16);
    take(aligned_alloc(ALIGNMENT, size), size, ALIGNMENT);
    take(__libc_calloc(1, size), size, 16);
    take(__libc_realloc(NULL, size), size, 16);
    take(__libc_memalign(ALIGNMENT, size), size, ALIGNMENT);
    take(__libc_valloc(size), size, PAGE);
    take(__libc_pvalloc(size), size, PAGE);
}

int main(void)
{
    CHECK(strstr(test_origin("calloc"), "libhakmem") != NULL);
    CHECK(strstr(test_origin("malloc"), "libhakmem") == NULL);
    for (size_t size = 1; size < 8 * MIB; size *= 3)
        take_from_all(size);
    take(strdup("a string"), sizeof "a string", 16);
    CHECK(mallocs > 10 && frees > 100);
    CHECK(test_preloaded_check() == 0);
    return 0;
}
