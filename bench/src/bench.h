/*
 * bench: what all benchmark programs share: a clock, a random sequence, tables that are not of the
 * heap under test, and what the kernel says about the process.
 *
 * The allocator under test is whatever LD_PRELOAD puts in place of the C library's.  The
 * benchmarks' own tables come from mmap or are static, so that they never share its heap.
 */
#ifndef BENCH_H
#define BENCH_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, KIB = 1024, MIB = 1024 * 1024 };
enum { EXIT_USAGE = 2, EXIT_BROKEN = 3 }; /* BROKEN: the allocator failed or damaged a block */

_Noreturn static inline void bench_die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    _exit(EXIT_BROKEN);
}

static inline double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void bench_sleep(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* xorshift32; the state must not be 0. */
static inline uint32_t bench_next(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* Makes the compiler believe p escapes here, so it cannot drop a malloc/free pair. */
static inline void *bench_keep(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static inline void *bench_some(void *p)
{
    p = bench_keep(p);
    if (!p)
        bench_die("the allocator returned NULL");
    return p;
}

/* Zeroed memory that is not of the heap. */
static inline void *bench_table(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        bench_die("mmap of a table failed");
    return p;
}

static inline void bench_table_drop(void *p, size_t bytes)
{
    munmap(p, bytes);
}

/* Writes a byte to each page of p[from..to). */
static inline void bench_touch(char *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i += PAGE)
        p[i] = 1;
}

/* A figure of /proc/self/status in KiB: "VmRSS:", "VmHWM:", "VmSize:"; -1 when it is not there. */
static inline long bench_status_kib(const char *field)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, field);
    return at ? atol(at + strlen(field)) : -1;
}

#endif
