/*
 * A fake of src/os.h for unit tests: real mappings, and on top of them a countdown to failure, a
 * clock that only the test moves, and counters.  A test that includes this defines every function
 * of os.h, so the linker leaves the library's os.c out.
 *
 * Included once, by the one file of the test.  Nothing in here allocates.
 */
#ifndef HAKMEM_FAKE_OS_H
#define HAKMEM_FAKE_OS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os.h"
#include "poison.h"

enum { FAKE_OS_CLOCK_START = 1000000 };

#define FAKE_OS_NEVER UINT64_MAX

typedef struct fake_os {
    _Atomic uint64_t
        calls; /* calls so far that may fail: map, reserve, resize, move, purge, huge pages */
    _Atomic uint64_t fail_from; /* the number of the first call that fails; FAKE_OS_NEVER */
    _Atomic uint64_t failures;  /* calls that were made to fail */
    _Atomic uint64_t maps;      /* by kind, the ones that succeeded */
    _Atomic uint64_t unmaps;
    _Atomic uint64_t purges;
    _Atomic uint64_t resizes;
    _Atomic uint64_t reserves;
    _Atomic uint64_t moves;
    _Atomic size_t mapped_bytes; /* address space that os.h has handed out and not got back */
    _Atomic size_t purged_bytes;
    _Atomic size_t huge_bytes; /* advised, so far */
    _Atomic size_t small_bytes;
    _Atomic uint64_t clock_ms;
    _Atomic uint64_t clock_reads;
    _Atomic unsigned cpu_count;
    _Atomic size_t most_bytes;          /* not 0: larger mappings fail */
    _Atomic size_t page_bytes;          /* not 0: larger pages than the system's */
    _Atomic size_t peak_resident_bytes; /* 0: it does not say */
    _Atomic bool main_thread;
    void (*on_purge)(
        void); /* not NULL: called before each purge, whose caller holds RECLAIM at most, and CACHES
                  where first-class heaps are emptied */
    void (*on_advice)(void); /* not NULL: the same, before huge pages are asked for */
    _Atomic uint64_t spread; /* not 0: mappings lie 16 GiB apart: each wants a registry leaf */
} fake_os_t;

static fake_os_t fake_os = {.fail_from = FAKE_OS_NEVER,
                            .clock_ms = FAKE_OS_CLOCK_START,
                            .cpu_count = 2,
                            .main_thread = true};

/* Of the mapping calls from now on, the one with number n (0 is the next) and all after it fail,
 * until fake_os_heal. */
static inline void fake_os_fail_after(uint64_t n)
{
    atomic_store(&fake_os.fail_from, atomic_load(&fake_os.calls) + n);
}

static inline void fake_os_heal(void)
{
    atomic_store(&fake_os.fail_from, FAKE_OS_NEVER);
}

static inline void fake_os_advance(uint64_t ms)
{
    atomic_fetch_add(&fake_os.clock_ms, ms);
}

/* Counts a call; whether it has to fail. */
static inline bool fake_os_must_fail(void)
{
    if (atomic_fetch_add(&fake_os.calls, 1) < atomic_load(&fake_os.fail_from)) {
        return false;
    }
    atomic_fetch_add(&fake_os.failures, 1);
    return true;
}

/* What the callers rely on, checked at each call.  Ends the process: a test's CHECK might not be at
 * hand. */
static inline void fake_os_require(bool holds, const char *what)
{
    if (!holds) {
        ssize_t written = write(2, "fake_os: bad call of ", 21);
        size_t length = 0;
        while (what[length] != '\0') {
            length++;
        }
        written = write(2, what, length);
        written = write(2, "\n", 1);
        (void)written;
        abort();
    }
}

static inline bool fake_os_is_range(const void *address, size_t bytes)
{
    size_t page = hk_os_page_bytes();
    return address != NULL && bytes != 0 && ((uintptr_t)address & (page - 1)) == 0 &&
           (bytes & (page - 1)) == 0;
}

/* Where the next mapping shall lie; the kernel may decline. */
static inline void *fake_os_hint(void)
{
    uint64_t number = atomic_load(&fake_os.spread);
    if (number == 0) {
        return NULL;
    }
    atomic_store(&fake_os.spread, number + 1);
    return (void *)(uintptr_t)(UINT64_C(0x200000000000) + (number % 1024 << 34));
}

static inline void *fake_os_map_aligned(size_t bytes, size_t alignment, int protection)
{
    size_t page = hk_os_page_bytes();
    size_t whole = bytes + alignment - (size_t)sysconf(_SC_PAGESIZE); /* the kernel's page */
    fake_os_require(bytes != 0 && (bytes & (page - 1)) == 0, "map: bytes");
    fake_os_require(hk_is_power_of_two(alignment) && alignment >= page, "map: alignment");
    if (whole < bytes) {
        return NULL;
    }
    int saved = errno;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *start = mmap(fake_os_hint(), whole, PROT_NONE, flags, -1, 0);
    if (start == MAP_FAILED) {
        errno = saved;
        return NULL;
    }
    char *aligned = (char *)hk_align_up((uintptr_t)start, alignment);
    if (aligned > start) {
        (void)munmap(start, (size_t)(aligned - start));
    }
    if (aligned + bytes < start + whole) {
        (void)munmap(aligned + bytes, (size_t)(start + whole - (aligned + bytes)));
    }
    if (protection != PROT_NONE && mprotect(aligned, bytes, protection) != 0) {
        (void)munmap(aligned, bytes);
        aligned = NULL;
    }
    errno = saved;
    return aligned;
}

size_t hk_os_page_bytes(void)
{
    size_t page = atomic_load(&fake_os.page_bytes);
    return page != 0 ? page : (size_t)sysconf(_SC_PAGESIZE);
}

void *hk_os_map(size_t bytes, size_t alignment)
{
    size_t most = atomic_load(&fake_os.most_bytes);
    if (fake_os_must_fail() || (most != 0 && bytes > most)) {
        return NULL;
    }
    void *address = fake_os_map_aligned(bytes, alignment, PROT_READ | PROT_WRITE);
    if (address != NULL) {
        atomic_fetch_add(&fake_os.maps, 1);
        atomic_fetch_add(&fake_os.mapped_bytes, bytes);
    }
    return address;
}

/* Never fails: the kernel's failure here is a lack of mappings, which os.c hides from its
 * callers. */
void hk_os_unmap(void *address, size_t bytes)
{
    fake_os_require(fake_os_is_range(address, bytes), "unmap: range");
    fake_os_require(atomic_load(&fake_os.mapped_bytes) >= bytes, "unmap: more than was mapped");
    hk_poison_clear(address, bytes);
    int saved = errno;
    fake_os_require(munmap(address, bytes) == 0, "unmap: refused by the kernel");
    errno = saved;
    atomic_fetch_add(&fake_os.unmaps, 1);
    atomic_fetch_sub(&fake_os.mapped_bytes, bytes);
}

bool hk_os_purge(void *address, size_t bytes)
{
    fake_os_require(fake_os_is_range(address, bytes), "purge: range");
    if (fake_os.on_purge != NULL) {
        fake_os.on_purge();
    }
    if (fake_os_must_fail()) {
        return false;
    }
    int saved = errno;
    bool done = madvise(address, bytes, MADV_DONTNEED) == 0;
    errno = saved;
    if (done) {
        atomic_fetch_add(&fake_os.purges, 1);
        atomic_fetch_add(&fake_os.purged_bytes, bytes);
    }
    return done;
}

bool hk_os_zero(void *address, size_t bytes)
{
    fake_os_require(fake_os_is_range(address, bytes), "zero: range");
    return !fake_os_must_fail() && madvise(address, bytes, MADV_DONTNEED) == 0;
}

void hk_os_residency(const void *address, size_t bytes, unsigned char *pages)
{
    int saved = errno;
    if (mincore((void *)(uintptr_t)address, bytes, pages) != 0) {
        memset(pages, errno == ENOMEM ? 0 : 1, bytes / hk_os_page_bytes());
    }
    errno = saved;
}

bool hk_os_prefer_huge(void *address, size_t bytes)
{
    fake_os_require(fake_os_is_range(address, bytes), "advice: range");
    if (fake_os.on_advice != NULL) {
        fake_os.on_advice();
    }
    if (fake_os_must_fail()) {
        return false;
    }
    atomic_fetch_add(&fake_os.huge_bytes, bytes);
    return true;
}

void hk_os_prefer_small(void *address, size_t bytes)
{
    fake_os_require(fake_os_is_range(address, bytes), "advice: range");
    atomic_fetch_add(&fake_os.small_bytes, bytes);
}

bool hk_os_resize(void *address, size_t old_bytes, size_t new_bytes)
{
    fake_os_require(fake_os_is_range(address, old_bytes), "resize: old range");
    fake_os_require(fake_os_is_range(address, new_bytes), "resize: new range");
    if (fake_os_must_fail()) {
        return false;
    }
    int saved = errno;
    bool done = mremap(address, old_bytes, new_bytes, 0) == address;
    errno = saved;
    if (done) {
        atomic_fetch_add(&fake_os.resizes, 1);
        atomic_fetch_add(&fake_os.mapped_bytes, new_bytes - old_bytes);
    }
    return done;
}

void *hk_os_reserve(size_t bytes, size_t alignment)
{
    if (fake_os_must_fail()) {
        return NULL;
    }
    void *address = fake_os_map_aligned(bytes, alignment, PROT_NONE);
    if (address != NULL) {
        atomic_fetch_add(&fake_os.reserves, 1);
        atomic_fetch_add(&fake_os.mapped_bytes, bytes);
    }
    return address;
}

bool hk_os_move_to(void *address, size_t old_bytes, void *target, size_t new_bytes)
{
    fake_os_require(fake_os_is_range(address, old_bytes), "move: source");
    fake_os_require(fake_os_is_range(target, new_bytes), "move: target");
    hk_poison_clear(address, old_bytes);
    if (fake_os_must_fail()) {
        hk_os_unmap(target, new_bytes); /* given up, as the interface says */
        return false;
    }
    int saved = errno;
    bool done =
        mremap(address, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target;
    errno = saved;
    if (done) { /* the target was reserved and counted; the source is gone */
        atomic_fetch_add(&fake_os.moves, 1);
        atomic_fetch_sub(&fake_os.mapped_bytes, old_bytes);
    }
    return done;
}

uint64_t hk_os_clock_ms(void)
{
    atomic_fetch_add(&fake_os.clock_reads, 1);
    return atomic_load(&fake_os.clock_ms);
}

/* The machine of a test has no files, no control group, and 8 GiB, unless the test says
 * otherwise. */
typedef struct fake_os_file {
    const char *path;
    const char *text;
} fake_os_file_t;

static const fake_os_file_t *fake_os_files; /* the last has no path */
static uint64_t fake_os_physical_bytes = UINT64_C(8) << 30;

size_t hk_os_read_file(const char *path, char *text, size_t text_bytes)
{
    size_t length = 0;
    for (const fake_os_file_t *file = fake_os_files; file != NULL && file->path != NULL; file++) {
        if (strcmp(file->path, path) == 0) {
            length = strlen(file->text);
            length = length < text_bytes - 1 ? length : text_bytes - 1;
            memcpy(text, file->text, length);
        }
    }
    text[length] = '\0';
    return length;
}

size_t hk_os_peak_resident_bytes(void)
{
    return atomic_load(&fake_os.peak_resident_bytes);
}

uint64_t hk_os_physical_bytes(void)
{
    return fake_os_physical_bytes;
}

void hk_os_note_cpus(void) {}

unsigned hk_os_cpu_count(void)
{
    return atomic_load(&fake_os.cpu_count);
}

bool hk_os_is_main_thread(void)
{
    return atomic_load(&fake_os.main_thread);
}

void hk_os_yield(void)
{
    (void)sched_yield();
}

void hk_os_wait(_Atomic uint32_t *word, uint32_t value)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    errno = saved;
}

void hk_os_wait_ms(_Atomic uint32_t *word, uint32_t value, uint64_t ms)
{
    int saved = errno;
    struct timespec wait = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &wait, NULL, 0);
    errno = saved;
}

bool hk_os_is_last_thread(void)
{
    return false;
}

void hk_os_wake(_Atomic uint32_t *word)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

#endif
