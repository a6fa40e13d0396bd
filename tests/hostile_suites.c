/* Kinds of misuse that other allocators' own test suites and the lists of common weaknesses (CWE)
 * have, and no file here yet. */
#include "hostile_cases.h"

#include <stdio.h>

/* ---- Frees by the wrong function, with the wrong size or alignment ---- */

CASE(mismatch_new_free)
{
    if (operator_new == NULL)
        return LACKS;
    free(hide(operator_new(40)));
    return HARMLESS;
}

CASE(mismatch_malloc_delete)
{
    if (operator_delete == NULL)
        return LACKS;
    operator_delete(block_of(40));
    return HARMLESS;
}

CASE(mismatch_array_object)
{
    if (operator_new_array == NULL || operator_delete == NULL)
        return LACKS;
    operator_delete(hide(operator_new_array(40)));
    return HARMLESS;
}

CASE(delete_large_wrong)
{
    if (operator_new == NULL || operator_delete_sized == NULL)
        return LACKS;
    operator_delete_sized(hide(operator_new(LARGE)), 3 * LARGE);
    return HARMLESS;
}

CASE(free_aligned_sized_misaligned)
{
    if (free_aligned_sized == NULL)
        return LACKS;
    free_aligned_sized(hide(malloc(100)), 1 << 20, 100);
    return HARMLESS;
}

CASE(free_aligned_sized_of_3)
{
    if (free_aligned_sized == NULL)
        return LACKS;
    free_aligned_sized(hide(malloc(100)), 3, 100);
    return HARMLESS;
}

CASE(free_sized_huge_wrong)
{
    if (free_sized == NULL)
        return LACKS;
    free_sized(hide(malloc(HUGE_BLOCK)), 100);
    return HARMLESS;
}

/* ---- Frees of what is no block ---- */

CASE(free_advanced_string)
{
    /* The pointer went along while the text was read. */
    char *text = hide(strdup("  a text with blanks before it, long enough to be worth it"));
    while (*text == ' ')
        text++;
    free(hide(text));
    return HARMLESS;
}

CASE(free_member)
{
    struct pair {
        char name[32];
        char value[32];
    } *pair = hide(malloc(sizeof *pair));
    free(hide(pair->value));
    return HARMLESS;
}

CASE(free_end_of_array)
{
    int *numbers = hide(malloc(16 * sizeof *numbers));
    free(hide(numbers + 16));
    return HARMLESS;
}

CASE(free_inside_memalign)
{
    char *block = hide(aligned_alloc(4096, 8192));
    free(hide(block + 4096));
    return HARMLESS;
}

CASE(free_next_page_of_huge)
{
    free(hide(block_of(HUGE_BLOCK) + 2048 * KIB));
    return HARMLESS;
}

CASE(free_loader)
{
    /* Data of the program's loader. */
    extern char **environ;
    free(hide((char *)environ - 16));
    return HARMLESS;
}

CASE(free_argument)
{
    free(hide(program_invocation_name));
    return HARMLESS;
}

CASE(free_allocator_function)
{
    void (*function)(void *) = free;
    void *address;
    memcpy(&address, &function, sizeof address);
    free(hide((void *)((uintptr_t)address & ~(uintptr_t)15)));
    return HARMLESS;
}

CASE(free_automatic_array)
{
    volatile size_t size = 256;
    char array[size];
    memset(array, 0, size);
    free(hide(array));
    return HARMLESS;
}

CASE(free_forged_on_stack)
{
    _Alignas(64) uintptr_t words[32] = {0, 0x61};
    words[13] = 0x1234;
    free(hide(words + 2));
    return hide(malloc(0x58)) == words + 2 ? WORKS : HARMLESS;
}

CASE(free_before_page)
{
    free(hide(block_of(100) - 4096));
    return HARMLESS;
}

CASE(free_far_behind)
{
    free(hide(block_of(100) + ((size_t)1 << 40)));
    return HARMLESS;
}

/* ---- The same for realloc and malloc_usable_size ---- */

CASE(realloc_one)
{
    return hide(realloc(hide((void *)1), 16)) != NULL ? WORKS : HARMLESS;
}

CASE(realloc_inside_large)
{
    return hide(realloc(hide(block_of(LARGE) + 4096), LARGE)) != NULL ? WORKS : HARMLESS;
}

CASE(realloc_stale)
{
    char *block = block_of(100);
    char *moved = hide(realloc(block, 10000));
    if (moved == block)
        return LACKS;
    return hide(realloc(block, 200)) != NULL ? WORKS : HARMLESS;
}

CASE(realloc_freed_huge)
{
    char *block = block_of(HUGE_BLOCK);
    free(block);
    return hide(realloc(block, 2 * HUGE_BLOCK)) != NULL ? WORKS : HARMLESS;
}

CASE(usable_size_one)
{
    return malloc_usable_size(hide((void *)1)) != 0 ? WORKS : HARMLESS;
}

CASE(usable_size_inside_large)
{
    return malloc_usable_size(hide(block_of(LARGE) + 4096)) != 0 ? WORKS : HARMLESS;
}

/* ---- Double frees ---- */

CASE(double_free_thrice)
{
    char *a = block_of(40), *b = block_of(40);
    free(a), free(b), free(hide(a)), free(hide(b)), free(hide(a));
    return HARMLESS;
}

CASE(double_free_between_callocs)
{
    char *block = hide(calloc(4, 25));
    free(block);
    free(hide(calloc(4, 250)));
    free(hide(block));
    return HARMLESS;
}

CASE(double_free_large_after_trim)
{
    char *block = block_of(LARGE);
    free(block);
    malloc_trim(0);
    free(hide(block));
    return HARMLESS;
}

CASE(double_free_huge_after_trim)
{
    char *block = block_of(8 * HUGE_BLOCK);
    free(block);
    malloc_trim(0);
    free(hide(block));
    return HARMLESS;
}

CASE(double_free_tenth_large)
{
    for (int i = 0; i < 20; i++)
        free(block_of(LARGE));
    char *block = block_of(LARGE);
    free(block);
    free(hide(block));
    return HARMLESS;
}

CASE(double_free_line_buffer)
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fmemopen((void *)(uintptr_t) "one line\n", 9, "r");
    if (getline(&line, &size, file) <= 0)
        return LACKS;
    free(line);
    free(hide(line));
    return HARMLESS;
}

CASE(double_free_both_threads_large)
{
    char *block = block_of(LARGE);
    in_thread(free_in_thread, block);
    in_thread(free_in_thread, hide(block));
    return HARMLESS;
}

/* ---- Stale pointers ---- */

static char *other_block;

static void *reuse_in_thread(void *old)
{
    for (int i = 0; i < 1000 && other_block != old; i++)
        other_block = block_of(64);
    return NULL;
}

CASE(stale_free_of_reused_by_thread)
{
    /* Freed here, given to another thread, freed here again: the other's block is gone. */
    char *block = block_of(64);
    free(block);
    in_thread(reuse_in_thread, block);
    free(hide(block));
    return other_block == block ? WORKS : HARMLESS;
}

CASE(stale_free_of_reused_large)
{
    char *block = block_of(LARGE);
    free(block);
    char *again = block_of(LARGE);
    free(hide(block));
    char *third = block_of(LARGE);
    return third == again ? WORKS : HARMLESS;
}

typedef struct node {
    struct node *next;
    long value;
} node_t;

CASE(read_next_of_freed)
{
    /* A list is freed by reading the next one out of the one that is gone. */
    node_t *list = NULL;
    for (long i = 0; i < 3; i++) {
        node_t *node = hide(malloc(sizeof *node));
        *node = (node_t){list, i};
        list = node;
    }
    int count = 0;
    for (node_t *node = list; node != NULL; node = ((node_t *)hide(node))->next, count++)
        free(node);
    return count == 3 ? WORKS : HARMLESS;
}

CASE(alias_after_realloc_large)
{
    char *old = block_of(LARGE);
    char *moved = hide(realloc(old, 64 * LARGE));
    char *new = block_of(LARGE);
    if (moved == old)
        return LACKS;
    poke(old, 'o');
    return peek(new) == 'o' ? WORKS : HARMLESS;
}

CASE(write_after_free_by_fread)
{
    char *block = block_of(128);
    FILE *file = fmemopen((void *)(uintptr_t) "sixteen letters.", 16, "r");
    free(block);
    if (fread(hide(block), 1, 16, file) != 16)
        return HARMLESS;
    return churn(128);
}

CASE(read_after_free_4k_aligned)
{
    char *block = hide(aligned_alloc(4096, 4096));
    memset(block, 'a', 4096);
    free(block);
    return peek(block + 2048) == 'a' ? WORKS : HARMLESS;
}

/* ---- Overflows and underflows ---- */

CASE(overflow_loop_to_the_end)
{
    int *numbers = hide(malloc(25 * sizeof *numbers));
    for (int i = 0; i <= 25; i++)
        ((volatile int *)hide(numbers))[i] = i + 1;
    free(numbers);
    return HARMLESS;
}

CASE(overflow_copy_without_room_for_the_end)
{
    const char *text = hide((void *)(uintptr_t) "exactly as many as are allocated");
    char *block = hide(malloc(strlen(text)));
    strcpy(hide(block), text);
    free(block);
    return HARMLESS;
}

CASE(overflow_by_wrapped_product)
{
    volatile uint32_t count = 0x10000001;
    uint32_t *numbers = hide(malloc((uint32_t)(count * 16)));
    for (int i = 0; i < 64; i++)
        ((volatile uint32_t *)hide(numbers))[i] = 7;
    free(numbers);
    return HARMLESS;
}

CASE(overflow_of_pointer_for_object)
{
    node_t *node = hide(malloc(sizeof node));
    ((volatile node_t *)hide(node))->value = 7;
    free(node);
    return HARMLESS;
}

CASE(overflow_all_of_heap)
{
    char *block = block_of(64);
    memset(hide(block), 'b', (size_t)64 * 1024 * KIB);
    return HARMLESS;
}

CASE(overflow_large_linear)
{
    char *block = block_of(LARGE), *next = block_of(LARGE);
    memset(hide(block), 'b', LARGE + 64 * KIB);
    free(block);
    free(next);
    return HARMLESS;
}

CASE(overflow_of_zeroed_count)
{
    /* A negative length. */
    char *block = block_of(64);
    volatile int length = -1;
    memset(hide(block), 'b', (size_t)length);
    return HARMLESS;
}

CASE(overflow_jumping)
{
    /* Past the neighbour's start into its middle. */
    static char *blocks[16];
    for (int i = 0; i < 16; i++)
        blocks[i] = block_of(64);
    poke(blocks[3] + 100, 'b');
    for (int i = 0; i < 16; i++)
        free(blocks[i]);
    return HARMLESS;
}

CASE(underflow_loop)
{
    static char *blocks[8];
    for (int i = 0; i < 8; i++)
        blocks[i] = block_of(64);
    for (int i = 63; i >= -4; i--)
        poke(blocks[4] + i, 'b');
    for (int i = 0; i < 8; i++)
        free(blocks[i]);
    return HARMLESS;
}

CASE(underread_small)
{
    char *block = block_of(64);
    return peek(block - 1) == 'a' ? WORKS : HARMLESS;
}

CASE(zero_size_calloc_write)
{
    char *block = hide(calloc(0, 8));
    poke(block, 'b');
    return HARMLESS;
}

/* ---- Predictable placement, and more exploits of glibc's heap ---- */

CASE(neighbours_in_order)
{
    /* The attacker's block is to lie just behind the victim's. */
    static char *blocks[32];
    int behind = 0;
    for (int i = 0; i < 32; i++)
        blocks[i] = block_of(64);
    for (int i = 1; i < 32; i++)
        behind += blocks[i] > blocks[i - 1] && blocks[i] - blocks[i - 1] <= 96;
    return behind > 24 ? WORKS : HARMLESS;
}

CASE(overlapping_by_size)
{
    /* The size of a block in use is made larger; freed and taken again, it overlaps its
     * neighbour. */
    uintptr_t *a = hide(malloc(0x18)), *b = hide(malloc(0x98)), *c = hide(malloc(0x98));
    (void)hide(malloc(0x18));
    ((volatile uintptr_t *)hide(a))[3] = 0x141;
    free(b);
    char *d = hide(malloc(0x138));
    return d <= (char *)c && (char *)c < d + 0x138 ? WORKS : HARMLESS;
}

CASE(house_of_orange)
{
    char *block = hide(malloc(0x400 - 16));
    *(volatile uintptr_t *)hide(block + 0x3f8) = 0xc01;
    (void)hide(malloc(0x1000));
    return hide(malloc(0x1000)) != NULL ? HARMLESS : WORKS;
}
