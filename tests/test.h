/*
 * What the tests share: CHECK, a seeded generator, block patterns, threads, and figures from /proc.
 * Usable from C11 and from C++.  Nothing in here allocates.
 */
#ifndef HAKMEM_TEST_H
#define HAKMEM_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define TEST_UNUSED __attribute__((unused))
#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Prints one line on stderr and ends the process with status 1; safe in any thread and in a forked
 * child. */
__attribute__((noreturn, cold, format(printf, 4, 5), unused)) static void
test_fail(const char *file, int line, const char *expression, const char *format, ...)
{
    char text[1024];
    int used = snprintf(text, sizeof text, "%s:%d: failed: %s", file, line, expression);
    if (used > 0 && (size_t)used < sizeof text - 2) {
        va_list arguments;
        va_start(arguments, format);
        int more = vsnprintf(text + used, sizeof text - (size_t)used - 1, format, arguments);
        va_end(arguments);
        if (more > 0)
            used += more;
    }
    if (used < 0)
        used = 0;
    if ((size_t)used > sizeof text - 2)
        used = (int)sizeof text - 2;
    text[used++] = '\n';
    ssize_t written = write(2, text, (size_t)used);
    (void)written;
    _exit(1);
}

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            test_fail(__FILE__, __LINE__, #cond, "%s", "");                                        \
    } while (0)

/* The same with a printf text that says with which values. */
#define CHECKF(cond, ...)                                                                          \
    do {                                                                                           \
        if (!(cond))                                                                               \
            test_fail(__FILE__, __LINE__, #cond, __VA_ARGS__);                                     \
    } while (0)

/* ---- arguments ---- */

static inline uint64_t test_arg(int argc, char **argv, int index, uint64_t otherwise)
{
    return argc > index ? strtoull(argv[index], NULL, 0) : otherwise;
}

/* ---- random numbers (xorshift64*) ---- */

typedef struct test_rng_state {
    uint64_t state;
} test_rng_t;

static inline test_rng_t test_rng(uint64_t seed)
{
    test_rng_t rng = {(seed + 1) * UINT64_C(0x9e3779b97f4a7c15)};
    if (rng.state == 0)
        rng.state = 1;
    return rng;
}

static inline uint64_t test_next(test_rng_t *rng)
{
    rng->state ^= rng->state >> 12;
    rng->state ^= rng->state << 25;
    rng->state ^= rng->state >> 27;
    return rng->state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline size_t test_below(test_rng_t *rng, size_t limit)
{
    return (size_t)((test_next(rng) >> 11) % limit);
}

/* Log-distributed in 0 .. 2^max_bits: each binary order of size is equally likely. */
static inline size_t test_log_size(test_rng_t *rng, unsigned max_bits)
{
    size_t bits = test_below(rng, (size_t)max_bits + 1);
    return test_below(rng, ((size_t)1 << bits) + 1);
}

/* ---- patterns ----
 * A block of `size` bytes with number `id` is filled so that any byte that another block's fill has
 * overwritten shows. Up to 16 KiB, and for each eighth id, all of it is filled; else both ends, and
 * a word in each 512 bytes between.
 */

static inline uint64_t test_pattern_word(uint64_t id, size_t index)
{
    uint64_t x = (id + 1) * UINT64_C(0xd6e8feb86659fd93) + index * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ (x >> 29);
}

static inline size_t test_pattern_next(size_t offset, size_t size, uint64_t id)
{
    size_t edge = 4 * KIB;
    if (size <= 16 * KIB || (id & 7) == 0)
        return offset + 8;
    if (offset + 8 < edge || offset + 8 + edge >= size)
        return offset + 8;
    size_t next = (offset + 512) & ~(size_t)511;
    size_t tail = (size - edge) & ~(size_t)7;
    return next < tail ? next : tail;
}

static inline void test_fill(void *block, size_t size, uint64_t id)
{
    unsigned char *bytes = (unsigned char *)block;
    for (size_t at = 0; at < size; at = test_pattern_next(at, size, id)) {
        uint64_t word = test_pattern_word(id, at / 8);
        memcpy(bytes + at, &word, size - at < 8 ? size - at : 8);
    }
}

/* Of a block that was filled as (size, id): the offset of the first wrong word below `length`, or
 * SIZE_MAX. */
static inline size_t test_verify(const void *block, size_t length, size_t size, uint64_t id)
{
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t at = 0; at < length && at < size; at = test_pattern_next(at, size, id)) {
        uint64_t word = test_pattern_word(id, at / 8);
        size_t span = length - at < 8 ? length - at : 8;
        if (size - at < span)
            span = size - at;
        if (memcmp(bytes + at, &word, span) != 0)
            return at;
    }
    return SIZE_MAX;
}

#define CHECK_PATTERN(block, length, size, id)                                                     \
    do {                                                                                           \
        size_t wrong_at_ = test_verify((block), (length), (size), (id));                           \
        CHECKF(wrong_at_ == SIZE_MAX, " (block %p of %zu bytes, id %llu, first wrong at %zu)",     \
               (const void *)(block), (size_t)(size), (unsigned long long)(id), wrong_at_);        \
    } while (0)

static inline bool test_is_filled_with(const void *block, unsigned char value, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)block;
    return size == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static inline bool test_is_aligned(const void *block, size_t alignment)
{
    return ((uintptr_t)block & (alignment - 1)) == 0;
}

/* ---- threads ---- */

static inline pthread_t test_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, argument);
    CHECKF(error == 0, " (%d)", error);
    return thread;
}

static inline void test_join(pthread_t thread)
{
    int error = pthread_join(thread, NULL);
    CHECKF(error == 0, " (%d)", error);
}

/* ---- figures of this process ---- */

static inline void test_statm(size_t *vm_bytes, size_t *rss_bytes)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    CHECK(got > 0);
    text[got] = 0;
    char *rest;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t vm = strtoul(text, &rest, 10) * page;
    size_t rss = strtoul(rest, NULL, 10) * page;
    if (vm_bytes != NULL)
        *vm_bytes = vm;
    if (rss_bytes != NULL)
        *rss_bytes = rss;
}

static inline size_t test_vm_bytes(void)
{
    size_t vm;
    test_statm(&vm, NULL);
    return vm;
}

static inline size_t test_rss_bytes(void)
{
    size_t rss;
    test_statm(NULL, &rss);
    return rss;
}

/* ---- for the tests that run under LD_PRELOAD ---- */

/* The file that defines `name` for this process, or "". */
static inline const char *test_origin(const char *name)
{
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, name);
    if (address == NULL || dladdr(address, &info) == 0 || info.dli_fname == NULL)
        return "";
    return info.dli_fname;
}

/* Fails unless malloc is HAKMEM's.  HAKMEM_TEST_ANY=1 turns that off, to try a test on another
 * allocator. */
static inline void test_require_preload(void)
{
    const char *any = getenv("HAKMEM_TEST_ANY");
    if (any != NULL && any[0] == '1')
        return;
    const char *origin = test_origin("malloc");
    CHECKF(strstr(origin, "libhakmem") != NULL,
           " (malloc is from '%s'; run this with LD_PRELOAD=/path/libhakmem.so)", origin);
}

/* hak_check of a preloaded library; 0 where there is none. */
static inline size_t test_preloaded_check(void)
{
    size_t (*check)(void);
    void *address = dlsym(RTLD_DEFAULT, "hak_check");
    if (address == NULL)
        return 0;
    memcpy(&check, &address, sizeof check);
    return check();
}

/* ---- children ---- */

/* Runs body in a child, which exits with 0 if it comes back.  text gets what it writes to stderr;
 * returns its status, as waitpid has it. */
static inline int test_child_says(void (*body)(void), char *text, size_t text_bytes)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], text + length, text_bytes - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

/* ---- cases: each named case runs in a process of its own, so that one that hangs or crashes has a
 * name ---- */

typedef struct test_case {
    const char *name;
    void (*run)(void);
    int expected_status; /* exit status that means it passed */
} test_case_t;

/* With an argument runs that case here; with none runs every case by starting this program again
 * for each. A case that has not ended after `hang_seconds` counts as hung.  Returns the exit status
 * for main. */
static inline int test_cases(int argc, char **argv, const test_case_t *cases, size_t count,
                             unsigned hang_seconds)
{
    if (argc > 1) {
        for (size_t i = 0; i < count; i++) {
            if (strcmp(argv[1], cases[i].name) == 0) {
                alarm(hang_seconds);
                cases[i].run();
                return cases[i].expected_status;
            }
        }
        fprintf(stderr, "unknown case '%s'\n", argv[1]);
        return 2;
    }
    int failures = 0;
    for (size_t i = 0; i < count; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            execl("/proc/self/exe", argv[0], cases[i].name, (char *)NULL);
            _exit(127);
        }
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        bool passed = WIFEXITED(status) && WEXITSTATUS(status) == cases[i].expected_status;
        const char *why = passed                                          ? ""
                          : WIFSIGNALED(status) && WTERMSIG(status) == 14 ? " (hung)"
                                                                          : " (died)";
        printf("%-24s %s%s status 0x%x\n", cases[i].name, passed ? "ok" : "FAILED", why,
               (unsigned)status);
        fflush(stdout);
        if (!passed)
            failures++;
    }
    return failures == 0 ? 0 : 1;
}

/* Takes and frees the process's first large blocks, which lie apart, for tests of what comes after
 * them. */
static inline void test_use_up_apart(void *(*take)(size_t), void (*give)(void *))
{
    enum { APART = 8, LARGE_ENOUGH = 100 * 1024 };
    for (int i = 0; i < APART; i++) {
        void *volatile block = take(LARGE_ENOUGH);
        CHECK(block != NULL);
        give(block);
    }
}

#endif
