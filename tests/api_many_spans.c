/*
 * More blocks above 64 KiB than a process may have mappings for, if each takes three as hardening
 * has it: they are served, and small ones too; and once there are few again they are guarded.
 */
#include "hak_names.h"

enum { BLOCKS = 23000, RESIZED = 100 };

static const size_t size = 65 * KIB;
static char *blocks[BLOCKS];

static void check_exact(const char *block)
{
    bool hardened = getenv("HAKMEM_HARDEN") != NULL;
    CHECK(!hardened || t_usable_size(block) == size); /* else it is a run: whole pages */
}

/* As any other: it can be resized, freed with its size, and made zero. */
static void check_block(size_t i)
{
    blocks[i][0] = blocks[i][size - 1] = (char)i;
    blocks[i] = t_realloc(blocks[i], 3 * size);
    CHECK(blocks[i] != NULL && blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i);
    blocks[i] = t_realloc(blocks[i], size);
    CHECK(blocks[i] != NULL && blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i);
    t_free_sized(blocks[i], size);
    blocks[i] = t_calloc(1, size);
    CHECK(blocks[i] != NULL && blocks[i][0] == 0 && blocks[i][size - 1] == 0);
}

int main(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = t_malloc(size);
        CHECKF(blocks[i] != NULL, " (%zu)", i);
    }
    check_exact(blocks[0]);
    void *small = t_malloc(100);
    CHECK(small != NULL);
    t_free(small);
    for (size_t i = BLOCKS - RESIZED; i < BLOCKS; i++)
        check_block(i);
    CHECK(t_check() == 0);
    for (size_t i = 0; i < BLOCKS; i++)
        t_free(blocks[i]);
    CHECK(t_check() == 0);
    blocks[0] = t_malloc(size);
    CHECK(blocks[0] != NULL);
    check_exact(blocks[0]);
    t_free(blocks[0]);
    return 0;
}
