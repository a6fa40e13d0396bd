/*
 * For the hostile_*.c programs.  Each misuses the heap in one way and knows nothing of HAKMEM, so
 * that it runs on any allocator:
 *   0    nobody noticed, and the misuse had no effect that the program could see
 *   66   the request cannot be met, and was refused
 *   99   nobody noticed, and the misuse had its effect: stale data read, one block handed out
 *        twice, a forged block returned
 *   77   this allocator lacks the function
 * All else is a signal.  hostile.txt says what each comes to at the levels of HAKMEM_HARDEN,
 * hostile.py runs them.
 */
#ifndef HAKMEM_HOSTILE_H
#define HAKMEM_HOSTILE_H

#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    HARMLESS = 0,
    REFUSED = 66,
    LACKS = 77,
    WORKS = 99,
    KIB = 1024,
    LARGE = 256 * KIB,
    HUGE_BLOCK = 8192 * KIB
};

/* What the compiler must not see through. */
static inline void *hide(const void *pointer)
{
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return (void *)(uintptr_t)pointer;
}

static inline char *block_of(size_t size)
{
    char *block = hide(malloc(size));
    if (block == NULL)
        _exit(3);
    memset(block, 'a', size);
    return block;
}

static inline void poke(char *at, char value)
{
    *(volatile char *)hide(at) = value;
}

static inline char peek(const char *at)
{
    return *(volatile char *)hide(at);
}

/* Many blocks of the size come and go: what lies free is handed out again. */
static inline int churn(size_t size)
{
    for (int i = 0; i < 100000; i++)
        free(hide(malloc(size)));
    return HARMLESS;
}

static inline void *free_in_thread(void *block)
{
    free(block);
    return NULL;
}

static inline void in_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument) != 0)
        _exit(3);
    pthread_join(thread, NULL);
}

#endif
