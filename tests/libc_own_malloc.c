/*
 * A program that has a malloc of its own, the functions that glibc's manual lists under "Replacing
 * malloc", and leaves reallocarray as it is; run with LD_PRELOAD=libhakmem.so.
 */
#include "test.h"

#include <malloc.h>

static _Alignas(16) char memory[16 * MIB];
static size_t used;
static size_t blocks;

/* Each block has its size before it. */
static size_t *size_of(void *block)
{
    return (size_t *)block - 1;
}

static bool is_own(const void *block)
{
    return (const char *)block > memory && (const char *)block < memory + sizeof memory;
}

void *memalign(size_t alignment, size_t size)
{
    size_t start = used + sizeof(size_t) + alignment - 1;
    start -= ((uintptr_t)memory + start) % alignment;
    CHECK(size < sizeof memory - start);
    used = (start + size + 15) / 16 * 16;
    *size_of(memory + start) = size;
    blocks++;
    return memory + start;
}

void *malloc(size_t size)
{
    return memalign(16, size);
}

void free(void *block)
{
    CHECK(block == NULL || is_own(block));
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size); /* this memory is used once */
}

void *realloc(void *block, size_t size)
{
    CHECK(block == NULL || is_own(block));
    void *moved = malloc(size);
    if (block != NULL)
        memcpy(moved, block, *size_of(block) < size ? *size_of(block) : size);
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    *result = memalign(alignment, size);
    return 0;
}

void *valloc(size_t size)
{
    return memalign(4096, size);
}

void *pvalloc(size_t size)
{
    return memalign(4096, size);
}

size_t malloc_usable_size(void *block)
{
    return *size_of(block);
}

static void *(*volatile v_malloc)(size_t) = malloc;
static void *(*volatile v_reallocarray)(void *, size_t, size_t) = reallocarray;

int main(void)
{
    CHECK(strstr(test_origin("reallocarray"), "libhakmem") != NULL);
    CHECK(strstr(test_origin("malloc"), "libhakmem") == NULL);
    char *block = v_malloc(10);
    strcpy(block, "hi");
    block = v_reallocarray(block, 100, 2);
    CHECK(is_own(block) && strcmp(block, "hi") == 0 && malloc_usable_size(block) == 200);
    free(block);
    block = v_reallocarray(NULL, 3, 5);
    CHECK(is_own(block) && malloc_usable_size(block) == 15);
    free(block);
    size_t before = blocks;
    errno = 0;
    CHECK(v_reallocarray(NULL, SIZE_MAX / 2, 3) == NULL && errno == ENOMEM && blocks == before);
    CHECK(test_preloaded_check() == 0);
    return 0;
}
