/*
 * calloc of what was a mapping before: all zero, and what nobody has touched stays untouched.
 */
#include "hak_names.h"

enum { PAGE_BYTES = 4096 };

static const size_t size = 40 * MIB + 100;

static bool is_zero(const char *block)
{
    return block[0] == 0 && memcmp(block, block + 1, size - 1) == 0;
}

/* Writes a byte on each so-many-th page, and behind the last one's end. */
static void touch(char *block, size_t pages, size_t at)
{
    for (size_t i = at; i < size; i += pages * PAGE_BYTES)
        block[i] = 1;
    block[size - 1] = 1;
}

static void check_zero_again(size_t pages, size_t at)
{
    char *block = t_calloc(1, size);
    CHECK(block != NULL);
    touch(block, pages, at);
    t_free(block);
    block = t_calloc(1, size);
    CHECK(block != NULL);
    CHECKF(is_zero(block), " (each %zu pages at %zu)", pages, at);
    t_free(block);
}

int main(void)
{
    size_t before = test_rss_bytes();
    for (int i = 0; i < 3; i++) {
        char *block = t_calloc(size, 1);
        CHECK(block != NULL);
        touch(block, 300, PAGE_BYTES - 1);
        size_t now = test_rss_bytes();
        CHECKF(TEST_SANITIZED || now < before + 4 * MIB, " (%zu KiB more)", (now - before) / KIB);
        t_free(block);
    }
    for (size_t pages = 1; pages < 3000; pages = pages * 3 / 2 + 1)
        check_zero_again(pages, pages * 7 % PAGE_BYTES);
    return 0;
}
