/* Frees of what is no block, and realloc and malloc_usable_size of such. */
#include "hostile_cases.h"

#include <fcntl.h>
#include <stdio.h>

static int freed(const void *pointer)
{
    free(hide(pointer));
    return HARMLESS;
}

static void *map(int protection, int flags)
{
    return mmap(NULL, 4 * 4096, protection, flags | MAP_ANONYMOUS, -1, 0);
}

CASE(free_one)
{
    return freed((void *)1);
}

CASE(free_low_page)
{
    return freed((void *)0x1000);
}

CASE(free_uninitialised)
{
    return freed((void *)0xaaaaaaaaaaaaaaaa);
}

CASE(free_kernel)
{
    return freed((void *)0xffffffff81000000);
}

CASE(free_tagged)
{
    return freed((void *)((uintptr_t)block_of(64) | (uintptr_t)0xab << 56));
}

CASE(free_literal)
{
    return freed("a literal");
}

CASE(free_environment)
{
    return freed(getenv("PATH"));
}

CASE(free_thread_local)
{
    static __thread char local[64];
    return freed(local);
}

CASE(free_stdout)
{
    return freed(stdout);
}

static void *wait_for_ever(void *argument)
{
    char local[64];
    *(char **)argument = hide(local);
    for (;;)
        pause();
}

CASE(free_other_stack)
{
    char *volatile pointer = NULL;
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_ever, (void *)&pointer);
    while (pointer == NULL)
        usleep(1000);
    return freed(pointer);
}

CASE(free_shared_mapping)
{
    return freed(map(PROT_READ | PROT_WRITE, MAP_SHARED));
}

CASE(free_file_mapping)
{
    int file = open("/proc/self/exe", O_RDONLY);
    return freed(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0));
}

CASE(free_unmapped)
{
    char *mapping = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
    munmap(mapping, 4 * 4096);
    return freed(mapping);
}

CASE(free_break)
{
    return freed(sbrk(4096));
}

CASE(free_before_8)
{
    return freed(block_of(64) - 8);
}

CASE(free_before_16)
{
    return freed(block_of(64) - 16);
}

CASE(free_before_large)
{
    return freed(block_of(LARGE) - 16);
}

CASE(free_inside_8)
{
    return freed(block_of(64) + 8);
}

CASE(free_inside_16)
{
    return freed(block_of(64) + 16);
}

CASE(free_inside_32k)
{
    return freed(block_of(32 * KIB) + 4096);
}

CASE(free_end)
{
    return freed(block_of(64) + 64);
}

CASE(free_second_page_of_large)
{
    return freed(block_of(LARGE) + 4096);
}

CASE(free_inside_huge)
{
    return freed(block_of(HUGE_BLOCK) + HUGE_BLOCK / 2);
}

CASE(free_inside_aligned)
{
    return freed((char *)hide(aligned_alloc(4096, 8192)) + 4096);
}

CASE(free_inside_by_thread)
{
    in_thread(free_in_thread, block_of(64) + 16);
    return HARMLESS;
}

CASE(free_inside_freed)
{
    char *block = block_of(64);
    free(block);
    return freed(block + 16);
}

CASE(free_sized_static)
{
    static char block[64];
    if (free_sized == NULL)
        return LACKS;
    free_sized(hide(block), 64);
    return HARMLESS;
}

CASE(free_sized_large_wrong)
{
    if (free_sized == NULL)
        return LACKS;
    free_sized(block_of(LARGE), 64);
    return HARMLESS;
}

CASE(free_sized_half)
{
    if (free_sized == NULL)
        return LACKS;
    free_sized(block_of(256), 128);
    return HARMLESS;
}

CASE(free_aligned_sized_wrong)
{
    if (free_aligned_sized == NULL)
        return LACKS;
    free_aligned_sized(hide(aligned_alloc(64, 256)), 64, 1024);
    return HARMLESS;
}

CASE(delete_stack)
{
    char block[64];
    if (operator_delete == NULL)
        return LACKS;
    operator_delete(hide(block));
    return HARMLESS;
}

CASE(delete_inside)
{
    if (operator_new == NULL || operator_delete == NULL)
        return LACKS;
    operator_delete((char *)hide(operator_new(64)) + 16);
    return HARMLESS;
}

CASE(delete_array_inside)
{
    /* As delete[] of an array with a cookie that was made without one. */
    if (operator_new_array == NULL || operator_delete_array == NULL)
        return LACKS;
    operator_delete_array((char *)hide(operator_new_array(64)) - 8);
    return HARMLESS;
}

CASE(delete_larger)
{
    if (operator_new == NULL || operator_delete_sized == NULL)
        return LACKS;
    operator_delete_sized(hide(operator_new(40)), 400);
    return HARMLESS;
}

CASE(delete_slightly_larger)
{
    /* As delete of a derived object by a pointer to its base. */
    if (operator_new == NULL || operator_delete_sized == NULL)
        return LACKS;
    operator_delete_sized(hide(operator_new(24)), 32);
    return HARMLESS;
}

CASE(realloc_static)
{
    static char block[64];
    return hide(realloc(hide(block), 128)) != NULL ? WORKS : HARMLESS;
}

CASE(realloc_mapping)
{
    return hide(realloc(map(PROT_READ | PROT_WRITE, MAP_PRIVATE), 128)) != NULL ? WORKS : HARMLESS;
}

CASE(realloc_wild)
{
    return hide(realloc((void *)0x123450, 128)) != NULL ? WORKS : HARMLESS;
}

CASE(realloc_misaligned)
{
    return hide(realloc(block_of(64) + 1, 128)) != NULL ? WORKS : HARMLESS;
}

CASE(usable_size_static)
{
    static char block[64];
    return malloc_usable_size(hide(block)) > 0 ? WORKS : HARMLESS;
}

CASE(usable_size_wild)
{
    return malloc_usable_size((void *)0x123450) > 0 ? WORKS : HARMLESS;
}

CASE(usable_size_misaligned)
{
    return malloc_usable_size(block_of(64) + 1) > 0 ? WORKS : HARMLESS;
}
