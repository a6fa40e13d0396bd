/* Writes and reads past the ends of blocks. */
#include "hostile_cases.h"

#include <stdio.h>
#include <wchar.h>

/* One byte at the offset from the block's start is written, and the block freed. */
static int written_at(char *block, long offset)
{
    poke(block + offset, 'b');
    free(block);
    return HARMLESS;
}

CASE(overflow_8_by_1)
{
    return written_at(block_of(8), 8);
}

CASE(overflow_1_by_1)
{
    return written_at(block_of(1), 1);
}

CASE(overflow_100_by_1)
{
    return written_at(block_of(100), 100);
}

CASE(overflow_1k_by_1)
{
    return written_at(block_of(1024), 1024);
}

CASE(overflow_32k_by_1)
{
    return written_at(block_of(32 * KIB), 32 * KIB);
}

CASE(overflow_large_page_end)
{
    return written_at(block_of(LARGE), LARGE);
}

CASE(overflow_large_next_page)
{
    return written_at(block_of(LARGE), LARGE + 4000);
}

CASE(overflow_large_inside_page)
{
    return written_at(block_of(LARGE + 100), LARGE + 2000);
}

CASE(overflow_8_by_8)
{
    char *block = block_of(8);
    memset(hide(block + 8), 'b', 8);
    free(block);
    return HARMLESS;
}

CASE(overflow_by_copy)
{
    char *block = block_of(32);
    char source[64] = {1, 2, 3};
    memset(source, 'c', sizeof source);
    memcpy(hide(block), hide(source), 64);
    free(block);
    return HARMLESS;
}

CASE(overflow_terminator_uneven)
{
    /* The terminator of a string that fills the block. */
    char *block = block_of(25);
    poke(block + 25, 0);
    free(block);
    return HARMLESS;
}

CASE(overflow_terminator_even)
{
    char *block = block_of(120);
    poke(block + 120, 0);
    free(block);
    return HARMLESS;
}

CASE(overflow_terminator_large)
{
    char *block = block_of(LARGE + 50);
    poke(block + LARGE + 50, 0);
    free(block);
    return HARMLESS;
}

CASE(overflow_format)
{
    char *block = block_of(16);
    sprintf(hide(block), "%s", "twenty-three characters");
    free(block);
    return HARMLESS;
}

CASE(overflow_wide)
{
    wchar_t *block = hide(malloc(4 * sizeof(wchar_t)));
    wmemset(hide(block), L'b', 5);
    free(block);
    return HARMLESS;
}

CASE(overflow_duplicate)
{
    char *block = hide(strdup("0123456"));
    strcat(hide(block), "7");
    free(block);
    return HARMLESS;
}

CASE(overflow_by_index)
{
    int *numbers = hide(calloc(10, sizeof(int)));
    ((volatile int *)hide(numbers))[10] = 7;
    free(numbers);
    return HARMLESS;
}

CASE(overflow_array)
{
    if (operator_new_array == NULL || operator_delete_array == NULL)
        return LACKS;
    char *array = hide(operator_new_array(40));
    poke(array + 40, 'b');
    operator_delete_array(array);
    return HARMLESS;
}

CASE(overflow_page_aligned)
{
    char *block = hide(aligned_alloc(4096, 4096));
    poke(block + 4096, 'b');
    free(block);
    return HARMLESS;
}

CASE(overflow_then_realloc)
{
    char *block = block_of(40);
    poke(block + 40, 'b');
    free(hide(realloc(block, 400)));
    return HARMLESS;
}

CASE(overflow_then_usable_size)
{
    char *block = block_of(40);
    poke(block + 40, 'b');
    return malloc_usable_size(hide(block)) > 4000 ? WORKS : HARMLESS;
}

CASE(overflow_realloced_in_place)
{
    char *block = block_of(40);
    block = hide(realloc(block, 44));
    return written_at(block, 44);
}

CASE(overflow_into_freed)
{
    /* Whatever lies behind is free, and handed out again. */
    static char *blocks[64];
    for (int i = 0; i < 64; i++)
        blocks[i] = block_of(64);
    for (int i = 1; i < 64; i += 2)
        free(blocks[i]);
    for (int i = 0; i < 64; i += 2)
        memset(hide(blocks[i] + 64), 'b', 48);
    return churn(64);
}

CASE(overflow_live_at_exit)
{
    poke(block_of(1000) + 1000, 'b');
    return HARMLESS;
}

CASE(underflow_1)
{
    static char *blocks[8];
    for (int i = 0; i < 8; i++)
        blocks[i] = block_of(40);
    poke(blocks[4] - 1, 'b');
    for (int i = 0; i < 8; i++)
        free(blocks[i]);
    return HARMLESS;
}

CASE(underflow_8)
{
    static char *blocks[8];
    for (int i = 0; i < 8; i++)
        blocks[i] = block_of(40);
    memset(hide(blocks[4] - 8), 'b', 8);
    for (int i = 0; i < 8; i++)
        free(blocks[i]);
    return HARMLESS;
}

CASE(underflow_large_1)
{
    return written_at(block_of(LARGE), -1);
}

CASE(underflow_read_large)
{
    char *block = block_of(LARGE);
    (void)peek(block - 1);
    free(block);
    return HARMLESS;
}

CASE(overread_large)
{
    char *block = block_of(LARGE);
    (void)peek(block + LARGE);
    free(block);
    return HARMLESS;
}

CASE(overread_huge_far)
{
    char *block = block_of(HUGE_BLOCK);
    (void)peek(block + HUGE_BLOCK + 2000);
    free(block);
    return HARMLESS;
}

CASE(overread_heartbleed)
{
    /* A reply that is longer than what was asked with: does it hold another block's secret? */
    char *question = block_of(32);
    char *secret = block_of(32);
    memset(secret, 's', 32);
    char reply[200];
    memcpy(reply, hide(question), sizeof reply);
    return memchr(reply, 's', sizeof reply) != NULL ? WORKS : HARMLESS;
}
