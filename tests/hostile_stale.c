/* Uses of blocks that are free, and of what nobody has written. */
#include "hostile_cases.h"

/* The block is freed, the byte at the offset written, and much allocated. */
static int written_when_free(char *block, size_t size, size_t offset)
{
    free(block);
    poke(block + offset, 'b');
    return churn(size);
}

CASE(write_after_free_1)
{
    return written_when_free(block_of(1), 1, 0);
}

CASE(write_after_free_16)
{
    return written_when_free(block_of(16), 16, 8);
}

CASE(write_after_free_1k)
{
    return written_when_free(block_of(1024), 1024, 0);
}

CASE(write_after_free_1k_end)
{
    return written_when_free(block_of(1024), 1024, 1023);
}

CASE(write_after_free_32k)
{
    return written_when_free(block_of(32 * KIB), 32 * KIB, 16);
}

CASE(write_after_free_page)
{
    return written_when_free(hide(aligned_alloc(4096, 4096)), 4096, 8);
}

CASE(write_after_free_tail)
{
    /* Behind what the program had of it; what lies there is chance, and is changed for sure. */
    char *block = block_of(40);
    free(block);
    poke(block + 44, (char)~peek(block + 44));
    return churn(40);
}

CASE(fill_after_free)
{
    char *block = block_of(200);
    free(block);
    memset(hide(block), 'b', 200);
    return churn(200);
}

CASE(write_after_free_not_reused)
{
    char *block = block_of(200);
    free(block);
    poke(block + 100, 'b');
    return HARMLESS;
}

CASE(write_after_realloc_moved)
{
    char *block = block_of(100);
    char *moved = hide(realloc(block, 5000));
    if (moved == block)
        return LACKS;
    poke(block + 10, 'b');
    return churn(100);
}

CASE(write_after_delete)
{
    if (operator_new == NULL || operator_delete == NULL)
        return LACKS;
    char *object = hide(operator_new(64));
    operator_delete(object);
    poke(object, 'b');
    return churn(64);
}

CASE(write_after_free_in_child)
{
    char *block = block_of(64);
    free(block);
    if (fork() == 0)
        _exit(HARMLESS);
    poke(block, 'b');
    return churn(64);
}

/* Whether what was written before is still there. */
static int still_reads(char *block, size_t offset)
{
    free(block);
    return peek(block + offset) == 'a' ? WORKS : HARMLESS;
}

CASE(read_after_free_16)
{
    return still_reads(block_of(16), 0);
}

CASE(read_after_free_1k)
{
    return still_reads(block_of(1024), 0);
}

CASE(read_after_free_1k_end)
{
    return still_reads(block_of(1024), 1023);
}

CASE(read_after_free_32k)
{
    return still_reads(block_of(32 * KIB), 100);
}

CASE(read_after_free_32k_middle)
{
    return still_reads(block_of(32 * KIB), 16 * KIB);
}

CASE(read_after_realloc_moved)
{
    char *block = block_of(100);
    char *moved = hide(realloc(block, 5000));
    return moved != block && peek(block + 50) == 'a' ? WORKS : HARMLESS;
}

CASE(read_after_free_in_thread)
{
    char *block = block_of(64);
    in_thread(free_in_thread, block);
    return peek(block + 8) == 'a' ? WORKS : HARMLESS;
}

typedef struct object {
    int (*method)(void);
    char text[56];
} object_t;

static int planted(void)
{
    return WORKS;
}

CASE(call_after_free)
{
    /* The next block of the size is the attacker's, and takes the place of the object's table. */
    object_t *object = hide(malloc(sizeof *object));
    object->method = NULL;
    free(object);
    object_t *text = hide(malloc(sizeof *text));
    text->method = planted;
    int (*method)(void) = ((object_t *)hide(object))->method;
    return method == planted ? WORKS : HARMLESS;
}

CASE(alias_after_free)
{
    /* Written by the old pointer, read by the new. */
    char *old = block_of(48);
    free(old);
    char *new = hide(malloc(48));
    memset(new, 'n', 48);
    poke(old, 'o');
    return peek(new) == 'o' ? WORKS : HARMLESS;
}

CASE(alias_after_free_large)
{
    char *old = block_of(LARGE);
    free(old);
    char *new = hide(malloc(LARGE));
    memset(new, 'n', LARGE);
    poke(old, 'o');
    return peek(new) == 'o' ? WORKS : HARMLESS;
}

CASE(alias_after_many)
{
    /* As above, but the attacker takes 16 blocks. */
    char *old = block_of(48);
    free(old);
    for (int i = 0; i < 16; i++) {
        if (hide(malloc(48)) == old)
            return WORKS;
    }
    return HARMLESS;
}

static int uninitialised(size_t size, size_t offset)
{
    for (int i = 0; i < 300; i++)
        free(block_of(size));
    for (int i = 0; i < 300; i++) {
        char *block = hide(malloc(size));
        if (peek(block + offset) == 'a')
            return WORKS;
        free(block);
    }
    return HARMLESS;
}

CASE(uninitialised_read_16)
{
    return uninitialised(16, 0);
}

CASE(uninitialised_read_1k)
{
    return uninitialised(1024, 512);
}

CASE(uninitialised_read_32k)
{
    return uninitialised(32 * KIB, 20 * KIB);
}

CASE(uninitialised_read_grown)
{
    for (int i = 0; i < 300; i++)
        free(block_of(200));
    char *block = hide(realloc(block_of(40), 200));
    return peek(block + 150) == 'a' ? WORKS : HARMLESS;
}
