/*
 * The allocation functions under test as t_*: hak_* by default, so that a test reaches HAKMEM in
 * every build, also where malloc belongs to a sanitizer; the plain libc names with HAK_NAMES_LIBC,
 * for tests that run under LD_PRELOAD. The calls go through volatile pointers, so that the compiler
 * neither removes nor judges them.
 */
#ifndef HAKMEM_HAK_NAMES_H
#define HAKMEM_HAK_NAMES_H

#include "test.h"

#ifdef HAK_NAMES_LIBC
#include <malloc.h>
#define T_NAME(hak_name, libc_name) libc_name
#else
#include "hakmem/hakmem.h"
#define T_NAME(hak_name, libc_name) hak_name
#endif

TEST_UNUSED static void *(*volatile t_malloc)(size_t) = T_NAME(hak_malloc, malloc);
TEST_UNUSED static void *(*volatile t_calloc)(size_t, size_t) = T_NAME(hak_calloc, calloc);
TEST_UNUSED static void *(*volatile t_realloc)(void *, size_t) = T_NAME(hak_realloc, realloc);
TEST_UNUSED static void *(*volatile t_reallocarray)(void *, size_t,
                                                    size_t) = T_NAME(hak_reallocarray,
                                                                     reallocarray);
TEST_UNUSED static void *(*volatile t_aligned_alloc)(size_t, size_t) = T_NAME(hak_aligned_alloc,
                                                                              aligned_alloc);
TEST_UNUSED static void (*volatile t_free)(void *) = T_NAME(hak_free, free);

#ifdef HAK_NAMES_LIBC

/* glibc has no declarations of these before 2.42, so they are looked up; t_names_init must have
 * run. */
TEST_UNUSED static void (*volatile t_free_sized)(void *, size_t);
TEST_UNUSED static void (*volatile t_free_aligned_sized)(void *, size_t, size_t);
TEST_UNUSED static void (*volatile t_cfree)(void *);
TEST_UNUSED static size_t (*volatile t_malloc_usable_size)(void *) = malloc_usable_size;

static inline size_t t_usable_size(const void *block)
{
    return t_malloc_usable_size((void *)(uintptr_t)block);
}

static inline size_t t_check(void)
{
    return test_preloaded_check();
}

TEST_UNUSED static void t_names_init(void)
{
    void *address = dlsym(RTLD_DEFAULT, "free_sized");
    CHECK(address != NULL);
    memcpy((void *)(uintptr_t)&t_free_sized, &address, sizeof address);
    address = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    CHECK(address != NULL);
    memcpy((void *)(uintptr_t)&t_free_aligned_sized, &address, sizeof address);
    address = dlsym(RTLD_DEFAULT, "cfree");
    CHECK(address != NULL);
    memcpy((void *)(uintptr_t)&t_cfree, &address, sizeof address);
}

#else

TEST_UNUSED static void (*volatile t_free_sized)(void *, size_t) = hak_free_sized;
TEST_UNUSED static void (*volatile t_free_aligned_sized)(void *, size_t,
                                                         size_t) = hak_free_aligned_sized;
TEST_UNUSED static size_t (*volatile t_usable_size)(const void *) = hak_usable_size;
TEST_UNUSED static size_t (*volatile t_good_size)(size_t) = hak_good_size;
TEST_UNUSED static size_t (*volatile t_check)(void) = hak_check;
TEST_UNUSED static void *(*volatile t_heap_malloc)(hak_heap_t *, size_t) = hak_heap_malloc;
TEST_UNUSED static void *(*volatile t_heap_calloc)(hak_heap_t *, size_t, size_t) = hak_heap_calloc;
TEST_UNUSED static void *(*volatile t_heap_aligned_alloc)(hak_heap_t *, size_t,
                                                          size_t) = hak_heap_aligned_alloc;
TEST_UNUSED static void *(*volatile t_heap_realloc)(hak_heap_t *, void *,
                                                    size_t) = hak_heap_realloc;

#endif

#endif
