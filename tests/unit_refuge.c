/*
 * Blocks that other threads allocate while one forks are as large and as aligned as at any other
 * time, and pointers that are no such blocks are recognised.  Blocks that they free then are noted,
 * and the notes are worked off.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <signal.h>

#include "fork_elsewhere.h"
#include "path.h"
#include "refuge.h"

static void during_fork(void (*work)(void))
{
    pthread_t forker = fork_begin();
    work();
    fork_end(forker);
    CHECK(hak_check() == 0);
}

/* All of what is usable may be written to. */
static void check_block(char *block, size_t size)
{
    CHECK(block != NULL);
    size_t usable = hak_usable_size(block);
    CHECKF(usable >= hak_good_size(size), " (size %zu, usable %zu)", size, usable);
    memset(block, 1, usable);
    hak_free(block);
}

static hak_heap_t *heap;

static void allocate_sizes(void)
{
    for (size_t size = 1; size < 4 * MIB; size += size / 7 + 1) {
        check_block(hak_malloc(size), size);
        check_block(hak_calloc(1, size), size);
        check_block(hak_heap_malloc(heap, size), size);
    }
}

static void allocate_aligned(void)
{
    for (size_t alignment = 1; alignment < 2 * MIB; alignment *= 2) {
        for (size_t size = 1; size <= 3 * MIB; size *= 3) {
            char *block = hak_aligned_alloc(alignment, size);
            CHECKF(block != NULL, " (size %zu, alignment %zu)", size, alignment);
            CHECK(test_is_aligned(block, alignment));
            check_block(block, size);
        }
    }
}

/* ---- What is no block ---- */

static char *outlived, *beside; /* the region goes with its last block */

static void allocate_outlived(void)
{
    outlived = hak_malloc(100000);
    beside = hak_malloc(100000);
    CHECK(outlived != NULL && beside != NULL);
    CHECK(hk_registry_find(outlived)->kind == HK_REGION_REFUGE);
}

static void free_end(void)
{
    hak_free((char *)((uintptr_t)outlived & ~(uintptr_t)(2 * MIB - 1)) + MIB + 4096);
}

static void free_interior(void)
{
    char *volatile interior = outlived + 16; /* or the compiler sees it */
    hak_free(interior);
}

static void free_twice(void)
{
    hak_free(outlived);
    hak_free(outlived);
}

static void size_interior(void)
{
    (void)hak_usable_size(outlived + 16);
}

static void size_freed(void)
{
    hak_free(outlived);
    (void)hak_usable_size(outlived);
}

/* Ends a child with the line. */
static void check_said(void (*misuse)(void), const char *start, const char *end)
{
    char said[512];
    int status = test_child_says(misuse, said, sizeof said);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (status 0x%x: %s)", status, said);
    CHECKF(strncmp(said, start, strlen(start)) == 0 && strstr(said, end) != NULL, " ('%s')", said);
}

static void check_misuse(void)
{
    during_fork(allocate_outlived);
    check_said(free_end, "hakmem: invalid free of", "interior pointer");
    check_said(free_interior, "hakmem: invalid free of", "interior pointer");
    /* AddressSanitizer's build knows by the poison before the refuge is asked. */
    check_said(free_twice, TEST_SANITIZED ? "hakmem: " : "hakmem: double free of", "free already");
    check_said(size_interior, "hakmem: invalid pointer: usable size of", "interior pointer");
    check_said(size_freed, "hakmem: invalid pointer: usable size of", "free already");
    hak_free(outlived);
    hak_free(beside);
}

/* ---- What is left behind ---- */

enum { FORKS = 32, SMALL_BYTES = 48 };

static void *small;

static void allocate_small(void)
{
    small = hak_heap_malloc(heap, SMALL_BYTES);
    CHECK(small != NULL && hk_registry_find(small)->kind == HK_REGION_REFUGE);
}

/* A block that lives on keeps its page, and not the whole region. */
static void check_small_rest(void)
{
    void *kept[FORKS];
    size_t before = hak_limit_committed();
    for (int i = 0; i < FORKS; i++) {
        during_fork(allocate_small);
        kept[i] = memset(small, i, SMALL_BYTES);
    }
    size_t most = before + FORKS * 2 * (size_t)sysconf(_SC_PAGESIZE) + MIB;
    CHECKF(hak_limit_committed() < most, " (%zu, %zu before)", hak_limit_committed(), before);
    for (int i = 0; i < FORKS; i++) {
        CHECK(*(char *)kept[i] == i && hak_usable_size(kept[i]) >= SMALL_BYTES);
        hak_free(kept[i]);
    }
    CHECKF(hak_limit_committed() <= before + MIB, " (%zu, %zu before)", hak_limit_committed(),
           before);
}

/* ---- Notes ---- */

static void *noted;

static void free_noted(void)
{
    hak_free(noted);
}

static void allocate_in_heap(void)
{
    hak_free(hak_heap_malloc(heap, 100));
}

static void allocate_span(void)
{
    hak_free(hak_malloc(200000));
}

static void check_worked_off(void (*work)(void))
{
    hak_stats_t before, after;
    noted = hak_malloc(40 * MIB);
    CHECK(noted != NULL && hak_stats_get(&before, sizeof before) == 0);
    during_fork(free_noted);
    CHECK(hk_refuge_has_deferred());
    work();
    CHECK(!hk_refuge_has_deferred());
    CHECK(hak_stats_get(&after, sizeof after) == 0);
    CHECK(after.in_use_bytes + 39 * MIB < before.in_use_bytes);
    CHECK(hak_check() == 0);
}

int main(void)
{
    heap = hak_heap_create();
    CHECK(heap != NULL);
    during_fork(allocate_sizes);
    allocate_sizes();
    during_fork(allocate_aligned);
    allocate_aligned();
    check_misuse();
    check_small_rest();
    check_worked_off(allocate_in_heap);
    check_worked_off(allocate_span);
    check_worked_off(hk_path_replay_uncached);
    hak_heap_destroy(heap);
    return 0;
}
