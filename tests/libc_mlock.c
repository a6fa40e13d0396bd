/*
 * A program that locks its memory, present and future: the allocator's reservations must not all
 * become resident, and where the lock limit is reached the answer is NULL.  Run with
 * LD_PRELOAD=libhakmem.so.
 */
#include "test.h"
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>

static void *(*volatile v_malloc)(size_t) = malloc;
static void (*volatile v_free)(void *) = free;

static size_t locked_bytes(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    CHECK(got > 0);
    text[got] = 0;
    const char *line = strstr(text, "VmLck:");
    CHECK(line != NULL);
    return strtoul(line + 6, NULL, 10) * KIB;
}

/* A page that is still locked when its block is freed keeps no other memory from going back. */
static void one_page(void)
{
    enum { SIZE = 600 * KIB, COUNT = 60, LOCKED = 33 };
    char *blocks[COUNT];
    size_t before = test_rss_bytes();
    for (int i = 0; i < COUNT; i++) {
        CHECK((blocks[i] = v_malloc(SIZE)) != NULL);
        test_fill(blocks[i], SIZE, (uint64_t)i);
    }
    CHECK(mlock(blocks[LOCKED], 1) == 0);
    size_t freed = 0;
    for (int i = 0; i < COUNT; i++) {
        if (i % 2 != 0 || i == LOCKED + 1) { /* the others keep their areas mapped */
            v_free(blocks[i]);
            freed += SIZE;
        }
    }
    (void)malloc_trim(0);
    size_t after = test_rss_bytes();
    CHECKF(after < before + COUNT * (size_t)SIZE - freed + 2 * MIB, " (%zu KiB, then %zu)",
           before / KIB, after / KIB);
    for (int i = 0; i < COUNT; i += 2) {
        if (i != LOCKED + 1)
            v_free(blocks[i]);
    }
}

/* Since Linux 5.18 the system takes locked pages too. */
static bool takes_locked(void)
{
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && mlock(page, 1) == 0);
    bool taken = madvise(page, 4096, 24 /* MADV_DONTNEED_LOCKED */) == 0;
    CHECK(munmap(page, 4096) == 0);
    return taken;
}

int main(void)
{
    test_require_preload();
    if (takes_locked())
        one_page();
    v_free(v_malloc(100));
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        printf("libc_mlock: skipped, mlockall: %s\n", strerror(errno));
        return 77;
    }
    size_t before = locked_bytes();
    CHECKF(before < 64 * MIB, " (%zu KiB locked by a trivial program)", before / KIB);
    enum { COUNT = 2000 };
    static void *blocks[COUNT];
    size_t held = 0;
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i % 100 == 0 ? 300 * KIB : 100 + i * 3;
        blocks[i] = v_malloc(size);
        if (blocks[i] == NULL) {
            CHECK(errno == ENOMEM);
            continue;
        }
        test_fill(blocks[i], size, i);
        held += size;
    }
    size_t full = locked_bytes();
    CHECKF(full < before + 2 * held + 16 * MIB, " (%zu KiB, then %zu KiB locked for %zu KiB)",
           before / KIB, full / KIB, held / KIB);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i % 100 == 0 ? 300 * KIB : 100 + i * 3;
        if (blocks[i] != NULL)
            CHECK_PATTERN(blocks[i], size, size, i);
        v_free(blocks[i]);
    }
    /* A limit on locked memory, which binds programs without CAP_IPC_LOCK: NULL and ENOMEM, no end
     * of the program. */
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (limit.rlim_cur > full + 8 * MIB)
        limit.rlim_cur = full + 8 * MIB;
    CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    if (geteuid() == 0)
        (void)!setuid(65534);
    void *large[64];
    size_t got = 0;
    for (size_t i = 0; i < TEST_COUNT(large); i++) {
        errno = 0;
        large[i] = v_malloc(4 * MIB);
        if (large[i] != NULL)
            got++;
        else
            CHECK(errno == ENOMEM);
    }
    for (size_t i = 0; i < TEST_COUNT(large); i++)
        v_free(large[i]);
    void *again = v_malloc(1000);
    CHECK(again != NULL);
    v_free(again);
    CHECK(test_preloaded_check() == 0);
    printf("libc_mlock: ok (%zu KiB locked at first, %zu of 64 large blocks under the limit)\n",
           before / KIB, got);
    return 0;
}
