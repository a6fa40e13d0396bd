/*
 * os: Linux.  See os.h.
 */
#define _GNU_SOURCE
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "poison.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* the C library's headers may be older than the kernel */
#endif

size_t hk_os_page_bytes(void)
{
    static _Atomic size_t page_bytes; /* atomic: whoever is first stores what all would */
    size_t bytes = hk_load_relaxed(&page_bytes);
    if (HK_UNLIKELY(bytes == 0)) {
        /* The auxiliary vector is in place before the first constructor, and reading it is no
         * system call. */
        bytes = (size_t)getauxval(AT_PAGESZ);
        hk_store_relaxed(&page_bytes, bytes);
    }
    return bytes;
}

static void *map_anywhere(size_t bytes, int protection)
{
    void *address = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

/* Maps alignment bytes too many and cuts the ends off. */
static void *map_aligned(size_t bytes, size_t alignment, int protection)
{
    size_t surplus = bytes + alignment - hk_os_page_bytes();
    if (surplus < bytes) {
        return NULL;
    }
    void *whole = map_anywhere(surplus, protection);
    if (whole == NULL) {
        return NULL;
    }
    uintptr_t start = (uintptr_t)whole;
    uintptr_t aligned = hk_align_up(start, alignment);
    hk_os_unmap_between(start, aligned);
    hk_os_unmap_between(aligned + bytes, start + surplus);
    return (void *)aligned;
}

/* Only the aligned part is ever writable: a surplus that is not charged cannot fail under strict
 * overcommit.  Where a sandbox does not allow mprotect the surplus has to be. */
static void *map_writable_aligned(size_t bytes, size_t alignment)
{
    void *address = map_aligned(bytes, alignment, PROT_NONE);
    if (address != NULL && mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0) {
        hk_os_unmap(address, bytes);
        address = map_aligned(bytes, alignment, PROT_READ | PROT_WRITE);
    }
    return address;
}

void *hk_os_map(size_t bytes, size_t alignment)
{
    int saved = errno;
    void *address = map_anywhere(bytes, PROT_READ | PROT_WRITE);
    if (((uintptr_t)address & (alignment - 1)) != 0) {
        hk_os_unmap(address, bytes);
        address = map_writable_aligned(bytes, alignment);
    }
    errno = saved;
    return address;
}

/* ---- Ranges that could not be unmapped, because that would have cut a mapping in two and there
 * were none to spare.  They go once another unmapping has succeeded ---- */

enum { LEFT_MAX = 128, LEFT_PAGES_BITS = 28 };

static struct {
    _Atomic unsigned count;            /* atomic: of the ranges, or about to be one more */
    _Atomic uint64_t ranges[LEFT_MAX]; /* atomic: number of the first page, and of pages; 0: none.
                                          Whoever takes one out has it. */
} left;

/* Notes a range.  If there is no room for it, its address space is lost. */
static void leave_range(uint64_t range)
{
    hk_add_relaxed(&left.count, 1); /* relaxed: who sees it late comes again */
    for (unsigned i = 0; i < LEFT_MAX; i++) {
        uint64_t none = 0;
        if (hk_cas_acq_rel(&left.ranges[i], &none, range)) { /* pairs with nothing: a number */
            return;
        }
    }
    hk_sub_relaxed(&left.count, 1);
}

static void leave(void *address, size_t bytes)
{
    uint64_t pages = bytes / hk_os_page_bytes();
    if (pages >> LEFT_PAGES_BITS == 0) {
        leave_range((uintptr_t)address / hk_os_page_bytes() << LEFT_PAGES_BITS | pages);
    }
}

static void unmap_left(void)
{
    size_t page = hk_os_page_bytes();
    for (unsigned i = 0; i < LEFT_MAX && hk_load_relaxed(&left.count) > 0; i++) {
        uint64_t range = hk_exchange_acq_rel(&left.ranges[i], 0); /* pairs with nothing */
        if (range == 0) {
            continue;
        }
        hk_sub_relaxed(&left.count, 1);
        uint64_t pages = range & ((UINT64_C(1) << LEFT_PAGES_BITS) - 1);
        if (munmap((void *)((range >> LEFT_PAGES_BITS) * page), pages * page) != 0) {
            leave_range(range);
            return;
        }
    }
}

void hk_os_unmap(void *address, size_t bytes)
{
    int saved = errno;
    hk_poison_clear(address, bytes);
    if (munmap(address, bytes) != 0) {
        (void)hk_os_purge(address, bytes);
        leave(address, bytes);
    } else if (HK_UNLIKELY(hk_load_relaxed(&left.count) > 0)) {
        unmap_left();
    }
    errno = saved;
}

static bool advise(void *address, size_t bytes, int advice)
{
    int saved = errno;
    bool done = madvise(address, bytes, advice) == 0;
    errno = saved;
    return done;
}

/* The second call, since Linux 5.18, is for memory that the program has locked. */
bool hk_os_purge(void *address, size_t bytes)
{
    return advise(address, bytes, MADV_DONTNEED) || advise(address, bytes, MADV_DONTNEED_LOCKED);
}

bool hk_os_zero(void *address, size_t bytes)
{
    return advise(address, bytes, MADV_DONTNEED);
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
    return advise(address, bytes, MADV_HUGEPAGE);
}

void hk_os_prefer_small(void *address, size_t bytes)
{
    (void)advise(address, bytes, MADV_NOHUGEPAGE);
}

bool hk_os_resize(void *address, size_t old_bytes, size_t new_bytes)
{
    int saved = errno;
    bool done = mremap(address, old_bytes, new_bytes, 0) == address;
    errno = saved;
    return done;
}

void *hk_os_reserve(size_t bytes, size_t alignment)
{
    int saved = errno;
    void *address = map_aligned(bytes, alignment, PROT_NONE);
    errno = saved;
    return address;
}

/* Whether the limits allow so many more writable bytes. */
static bool is_allowed(size_t bytes)
{
    void *probe = map_anywhere(bytes, PROT_READ | PROT_WRITE);
    if (probe != NULL) {
        hk_os_unmap(probe, bytes);
    }
    return probe != NULL;
}

/* Whether the process has the five mappings to spare that the kernel wants for a move.  Finds out
 * by cutting the reserved address space into more mappings, and joins it again. */
static bool can_spare_mappings(char *reserved, size_t bytes)
{
    enum { CUTS = 3 };
    size_t page = hk_os_page_bytes();
    bool spare = true;
    if (bytes < 2 * CUTS * page) {
        return false; /* it is soon copied */
    }
    for (size_t i = 0; spare && i < CUTS; i++) {
        spare = mprotect(reserved + (2 * i + 1) * page, page, PROT_READ) == 0;
    }
    (void)mprotect(reserved, 2 * CUTS * page, PROT_NONE);
    return spare;
}

/* A kernel may unmap the target before or after it looks whether limits allow the move.  So if the
 * move fails, we do not know whether the target is still there, or another thread's by now.
 * Therefore limits are probed first, while the target is certainly ours; and once a move has
 * failed, the number of mappings is probed too.  A call that a sandbox refused has not unmapped the
 * target. */
bool hk_os_move_to(void *address, size_t old_bytes, void *target, size_t new_bytes)
{
    static _Atomic bool ever_failed; /* atomic: relaxed, since a target lost more does no harm */
    int saved = errno;
    bool allowed =
        (new_bytes <= old_bytes || is_allowed(new_bytes - old_bytes)) &&
        (HK_LIKELY(!hk_load_relaxed(&ever_failed)) || can_spare_mappings(target, new_bytes));
    hk_poison_clear(address, old_bytes);
    bool done = allowed && mremap(address, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                                  target) == target;
    if (!allowed || (!done && (errno == EPERM || errno == ENOSYS))) {
        hk_os_unmap(target, new_bytes);
    } else if (!done) {
        hk_store_relaxed(&ever_failed, true);
    }
    errno = saved;
    return done;
}

uint64_t hk_os_clock_ms(void)
{
    int saved = errno;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    errno = saved;
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static _Atomic unsigned cpu_count; /* of known; atomic: read at any time */

void hk_os_note_cpus(void)
{
    static unsigned long known[128]; /* 8192 processors */
    int saved = errno;
    unsigned long mask[128] = {0};
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    errno = saved;
    if (bytes < 0) {
        return; /* refused: it adds none */
    }
    unsigned count = 0;
    for (long i = 0; i < bytes / (long)sizeof mask[0]; i++) { /* as many for each thread */
        known[i] |= mask[i];
        count += (unsigned)__builtin_popcountl(known[i]);
    }
    hk_store_relaxed(&cpu_count, count); /* relaxed: a figure */
}

unsigned hk_os_cpu_count(void)
{
    unsigned count = hk_load_relaxed(&cpu_count); /* relaxed: a figure */
    return count > 0 ? count : 1;
}

/* Not open, read and close, which are cancellation points: the file would stay open. */
size_t hk_os_read_file(const char *path, char *text, size_t text_bytes)
{
    int saved = errno;
    size_t length = 0;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && length < text_bytes - 1) {
        long got = syscall(SYS_read, fd, text + length, text_bytes - 1 - length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        length += (size_t)got;
    }
    if (fd >= 0) {
        (void)syscall(SYS_close, fd);
    }
    text[length] = '\0';
    errno = saved;
    return length;
}

size_t hk_os_peak_resident_bytes(void)
{
    int saved = errno;
    struct rusage usage;
    /* A thread's figure is the same peak as the process's, and needs no walk over all threads. */
    size_t bytes = getrusage(RUSAGE_THREAD, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
    errno = saved;
    return bytes;
}

uint64_t hk_os_physical_bytes(void)
{
    int saved = errno;
    struct sysinfo info;
    uint64_t bytes = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
    errno = saved;
    return bytes;
}

bool hk_os_is_main_thread(void)
{
    int saved = errno;
    bool is_main = getpid() == (pid_t)syscall(SYS_gettid);
    errno = saved;
    return is_main;
}

void hk_os_yield(void)
{
    int saved = errno;
    (void)sched_yield();
    errno = saved;
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
    /* "pid (name) state ..." of the first thread, a zombie once it has ended; the 18th word after
     * the state is the number of threads. */
    char text[512];
    (void)hk_os_read_file("/proc/self/stat", text, sizeof text);
    const char *word = strrchr(text, ')');
    if (word == NULL || word[1] != ' ' || word[2] != 'Z') {
        return false;
    }
    for (int i = 0; i < 18 && word != NULL; i++) {
        word = strchr(word + 1, ' ');
    }
    return word != NULL && strncmp(word, " 2 ", 3) == 0;
}

void hk_os_wake(_Atomic uint32_t *word)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}
