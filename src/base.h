/*
 * base: the few attributes, constants and helpers that every layer shares.  Knows nothing of the
 * allocator.
 */
#ifndef HK_BASE_H
#define HK_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0 no checks, 1 checks of arguments, 2 internal checks, 3 whole-structure walks.  Set by the
 * build. */
#ifndef HK_DEBUG
#define HK_DEBUG 0
#endif

#define HK_LIKELY(x) __builtin_expect(!!(x), 1)
#define HK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HK_COLD __attribute__((cold, noinline))
/* For a function that is often run although only cold code calls it. */
#define HK_HOT __attribute__((hot, noinline))
#define HK_NOINLINE __attribute__((noinline))
#define HK_INLINE static inline __attribute__((always_inline))
#define HK_CACHE_LINE 64
/* For malloc, free and delete, which begin a cache line each, so that their speed does not depend
 * on what the linker puts before them (docs/adr/0012). */
#define HK_FAST __attribute__((aligned(HK_CACHE_LINE)))
/* Initial-exec: a variable is found without a call, and the library fits into the surplus of static
 * TLS when it is dlopened. */
#define HK_TLS __thread __attribute__((tls_model("initial-exec")))

/* Hides from the compiler where a value came from, so that it keeps the code around it in the order
 * written. That saves an instruction here and there. */
#define HK_OPAQUE(value) __asm__("" : "+r"(value))

static inline size_t hk_align_up(size_t value, size_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static inline size_t hk_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* By how much it is above what is allowed, if it is. */
static inline size_t hk_above(size_t value, size_t allowed)
{
    return value > allowed ? value - allowed : 0;
}

/* How long ago that was; 0 if it is later than now, as what another thread noted may be. */
static inline uint64_t hk_ms_since(uint64_t then_ms, uint64_t now_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static inline bool hk_is_power_of_two(size_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

#endif
