/*
 * calloc of pages that others had before: all zero, whatever was written where, and what nobody
 * touches of a large block stays untouched.
 */
#include "hak_names.h"

#include <sys/mman.h>

enum { PAGE_BYTES = 4096 };

/* A mapping, runs on either side of the size from which pages may go back, and one off a page. */
static const size_t sizes[] = {40 * MIB + 100, 3 * MIB, 600 * KIB + 1, 500 * KIB, 100000};

static bool is_zero(const char *block, size_t size)
{
    return block[0] == 0 && memcmp(block, block + 1, size - 1) == 0;
}

/* Writes a byte on each so-many-th page, and behind the last one's end. */
static void touch(char *block, size_t size, size_t pages, size_t at)
{
    for (size_t i = at; i < size; i += pages * PAGE_BYTES)
        block[i] = 1;
    block[size - 1] = 1;
}

static void check_zero_again(size_t size, size_t pages, size_t at)
{
    char *block = t_calloc(1, size);
    CHECK(block != NULL);
    touch(block, size, pages, at);
    t_free(block);
    block = t_calloc(1, size);
    CHECK(block != NULL);
    CHECKF(is_zero(block, size), " (%zu bytes, each %zu pages at %zu)", size, pages, at);
    t_free(block);
}

/* Blocks of which little is used, made again and again, and at last after one that was used whole:
 * what is not used is not resident. */
static void check_sparse(size_t size, size_t count)
{
    static char *blocks[100];
    size_t before = test_rss_bytes();
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < count; i++) {
            CHECK((blocks[i] = t_calloc(size, 1)) != NULL);
            touch(blocks[i], size, 300, PAGE_BYTES - 1);
            if (round == 3)
                memset(blocks[i], 1, size);
        }
        size_t more = test_rss_bytes() - before;
        CHECKF(TEST_SANITIZED || round == 3 || round == 4 || more < 8 * MIB, " (%zu KiB more)",
               more / KIB);
        for (size_t i = 0; i < count; i++)
            t_free(blocks[i]);
    }
}

/* Locked memory stays resident, and is made zero all the same. */
static void check_locked(void)
{
    size_t size = 2 * MIB;
    char *block = t_calloc(1, size);
    CHECK(block != NULL);
    if (mlock(block, size) != 0)
        return; /* the limit is lower */
    touch(block, size, 100, 5);
    t_free(block);
    block = t_calloc(1, size);
    CHECK(block != NULL && is_zero(block, size));
    (void)munlock(block, size);
    t_free(block);
}

int main(void)
{
    check_sparse(40 * MIB + 100, 1);
    check_sparse(MIB, 100);
    check_locked();
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        for (size_t pages = 1; pages < 3000; pages = pages * 3 / 2 + 1)
            check_zero_again(sizes[i], pages, pages * 7 % PAGE_BYTES);
    return 0;
}
