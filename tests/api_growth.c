/*
 * Many blocks grow in turn, a little at a time, as buffers do.  How often each is moved goes with
 * the logarithm of its size, not with the number of steps.  The process's first large blocks lie
 * apart: they have whole pages to grow into, one that shrinks no longer lies apart, and little is
 * kept of their places.
 */
#include "test.h"

#include <errno.h>
#include <hakmem/hakmem.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BUFFERS = 16, MOVES_PER_DOUBLING = 10 };

static char *buffers[BUFFERS];

static unsigned grow_all(size_t from, size_t to, size_t step)
{
    unsigned moves = 0;
    for (size_t size = from; size <= to; size += step) {
        for (size_t i = 0; i < BUFFERS; i++) {
            char *moved = hak_realloc(buffers[i], size);
            CHECK(moved != NULL && hak_usable_size(moved) >= size);
            moves += moved != buffers[i];
            CHECK(size == from || moved[0] == (char)i);
            moved[0] = (char)i;
            buffers[i] = moved;
        }
    }
    return moves;
}

static size_t mapped_bytes(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%zu", &pages) == 1 && fclose(file) == 0);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Whole pages: a string that grows by a few bytes comes to the system once for each. */
static void first_grows_by_pages(void)
{
    /* Volatile: the compiler must not hold the size that was asked for against the memset. */
    char *volatile block = hak_malloc(70 * 1000);
    CHECK(block != NULL && hak_usable_size(block) == hak_good_size(70 * 1000));
    block = hak_realloc(block, 100 * 1000 + 1);
    CHECK(block != NULL && hak_usable_size(block) == hak_good_size(100 * 1000 + 1));
    memset(block, 1, hak_usable_size(block));
    hak_free(block);
}

/* Its place is sealed, and what goes up and down in the new one touches the same pages again. */
static void first_shrinks_once(void)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    char *block = hak_malloc(MIB);
    CHECK(block != NULL);
    memset(block, 7, MIB);
    char *volatile left = block;
    block = hak_realloc(block, 300 * KIB);
    CHECK(block != NULL && block != left && block[300 * KIB - 1] == 7);
    CHECK(syscall(SYS_write, ends[1], left, 1) == -1 && errno == EFAULT); /* past a sanitizer */
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    hak_free(block);
}

/* What waits sealed is address space that a program under ulimit -v may want, and what is taken
 * anew is a page fault for each page: so after 16 MiB blocks do not wait, but serve again. */
static void first_freed_keep_little(void)
{
    enum { BLOCKS = 6, APART = 2 }; /* with those before */
    char *volatile block[BLOCKS];
    size_t before = mapped_bytes();
    for (int i = 0; i < BLOCKS; i++) {
        block[i] = hak_malloc(5 * MIB);
        CHECK(block[i] != NULL);
        hak_free(block[i]);
        for (int other = 0; other < i; other++)
            CHECK((block[other] == block[i]) == (other >= APART));
    }
    size_t kept = mapped_bytes() - before;
    CHECKF(kept < 30 * MIB, " (%zu MiB)", kept / MIB);
}

/* A vector that grows takes the mapping of the last one whole, and grows into it; what it may use
 * is what it asked for. */
static void test_kept(void)
{
    for (unsigned round = 0; round < 3; round++) {
        size_t size = 1 << 20;
        char *block = hak_malloc(size);
        CHECK(block != NULL);
        memset(block, 1, size);
        while (size < (size_t)12 << 20) {
            size_t more = size + size / 2;
            block = hak_realloc(block, more);
            CHECK(block != NULL && hak_usable_size(block) >= more);
            CHECK(hak_usable_size(block) <= more + more / 8 + ((size_t)64 << 10));
            CHECK(block[0] == 1 && block[size - 1] == 1);
            memset(block + size, 1, more - size);
            size = more;
            CHECK(hak_check() == 0);
        }
        block = hak_realloc(block, size / 3);
        CHECK(block != NULL && block[size / 3 - 1] == 1);
        hak_free_sized(block, size / 3);
    }
}

/* A run that has moved to grow keeps the room that it has got for that. */
static void keeps_its_room(void)
{
    enum { RUNS = 40, FIRST = 70000, GROWN = 100000 };
    char *blocks[RUNS];
    for (int i = 0; i < RUNS; i++)
        CHECK((blocks[i] = hak_malloc(FIRST)) != NULL); /* the first ones lie apart */
    for (int i = RUNS / 2; i < RUNS - 1; i++) {
        char *grown = hak_realloc(blocks[i], GROWN);
        CHECK(grown != NULL);
        size_t usable = hak_usable_size(grown);
        CHECK((blocks[i] = hak_realloc(grown, GROWN + 16)) != NULL);
        CHECKF(hak_usable_size(blocks[i]) == usable, " (%zu, then %zu)", usable,
               hak_usable_size(blocks[i]));
    }
    for (int i = 0; i < RUNS; i++)
        hak_free(blocks[i]);
}

int main(void)
{
    first_grows_by_pages();
    first_shrinks_once();
    first_freed_keep_little();
    unsigned moves = grow_all(64 * KIB, MIB, 4 * KIB);
    CHECKF(moves <= BUFFERS * 4 * MOVES_PER_DOUBLING, " (%u moves)", moves);
    for (size_t i = 0; i < BUFFERS; i++)
        hak_free(buffers[i]);
    CHECK(hak_check() == 0);
    test_kept();
    keeps_its_room();
    return 0;
}
