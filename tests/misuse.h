/*
 * For the misuse_*.c programs.  Each does one thing wrong, after having written the address
 * concerned to stdout, and then returns from main.  Where that must be noticed in the very call,
 * the program says that it survived it; misuse.py takes a second word on stdout for a failure.
 * Where it is only noticed later, it must be noticed at exit at the latest.
 */
#ifndef HAKMEM_MISUSE_H
#define HAKMEM_MISUSE_H

#include "hak_names.h"
#include <sys/mman.h>

enum { MISUSE_COMPANIONS = 2000 };

/* The address that the library's message must name. */
static inline void *misuse_announce(const void *address)
{
    char text[64];
    int length = snprintf(text, sizeof text, "0x%llx\n", (unsigned long long)(uintptr_t)address);
    CHECK(length > 0 && write(1, text, (size_t)length) == length);
    return (void *)(uintptr_t)address;
}

/* After a call that must not return. */
static inline int misuse_survived(void)
{
    CHECK(write(1, "survived\n", 9) == 9);
    return 0;
}

static inline void *misuse_block(size_t size)
{
    void *block = t_malloc(size);
    CHECK(block != NULL);
    memset(block, 1, size);
    return block;
}

/* `offset` bytes into a fresh block */
static inline void *misuse_inside(size_t size, size_t offset)
{
    return misuse_announce((char *)misuse_block(size) + offset);
}

static inline int misuse_free_twice(size_t size)
{
    void *block = misuse_announce(misuse_block(size));
    t_free(block);
    t_free(block);
    return misuse_survived();
}

/* With a malloc between: whether that got the block again or another, one free of the three is too
 * many. */
static inline int misuse_free_twice_after_malloc(size_t size)
{
    void *block = misuse_announce(misuse_block(size));
    t_free(block);
    void *other = t_malloc(size);
    t_free(block);
    if (other == block)
        t_free(other);
    return misuse_survived();
}

/* With many other frees between. */
static inline int misuse_free_twice_far_apart(size_t size)
{
    static void *others[MISUSE_COMPANIONS];
    void *block = misuse_announce(misuse_block(size));
    for (size_t i = 0; i < MISUSE_COMPANIONS; i++)
        others[i] = misuse_block(size);
    t_free(block);
    for (size_t i = 0; i < MISUSE_COMPANIONS; i++)
        t_free(others[i]);
    t_free(block);
    return misuse_survived();
}

static inline int misuse_free_inside(size_t size, size_t offset)
{
    t_free(misuse_inside(size, offset));
    return misuse_survived();
}

#endif
