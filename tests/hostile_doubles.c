/* Blocks that are freed twice: by every way to free, of many sizes, at once and later. */
#include "hostile_cases.h"

#include <stdio.h>
#include <sys/wait.h>

static int twice(void *block)
{
    free(hide(block));
    free(hide(block));
    return HARMLESS;
}

CASE(double_free_empty)
{
    return twice(malloc(0));
}

CASE(double_free_1)
{
    return twice(malloc(1));
}

CASE(double_free_1k)
{
    return twice(block_of(1024));
}

CASE(double_free_32k)
{
    return twice(block_of(32 * KIB));
}

CASE(double_free_page)
{
    return twice(aligned_alloc(4096, 4096));
}

CASE(double_free_2m_aligned)
{
    return twice(aligned_alloc(2048 * KIB, 4096 * KIB));
}

CASE(double_free_cleared)
{
    return twice(calloc(10, 10));
}

CASE(double_free_cleared_large)
{
    return twice(calloc(1024, 1024));
}

CASE(double_free_memalign)
{
    void *block = NULL;
    return posix_memalign(&block, 64, 100) == 0 ? twice(block) : LACKS;
}

CASE(double_free_string)
{
    return twice(strdup("a string"));
}

CASE(double_free_grown)
{
    char *block = block_of(100);
    return twice(realloc(block, 200));
}

CASE(double_free_shrunk)
{
    char *block = block_of(200);
    return twice(realloc(block, 100));
}

CASE(realloc_nothing_then_free)
{
    char *block = block_of(40);
    void *left = hide(realloc(block, 0));
    free(hide(block));
    (void)left;
    return HARMLESS;
}

CASE(realloc_nothing_twice)
{
    char *block = block_of(40);
    void *left = hide(realloc(block, 0));
    left = hide(realloc(hide(block), 0));
    (void)left;
    return HARMLESS;
}

CASE(realloc_freed_small)
{
    char *block = block_of(40);
    free(block);
    return hide(realloc(hide(block), 80)) != NULL ? WORKS : HARMLESS;
}

CASE(reallocarray_freed)
{
    char *block = block_of(40);
    free(block);
    return hide(reallocarray(hide(block), 10, 10)) != NULL ? WORKS : HARMLESS;
}

CASE(delete_twice)
{
    if (operator_new == NULL || operator_delete == NULL)
        return LACKS;
    void *object = hide(operator_new(40));
    operator_delete(object);
    operator_delete(hide(object));
    return HARMLESS;
}

CASE(delete_array_twice)
{
    if (operator_new_array == NULL || operator_delete_array == NULL)
        return LACKS;
    void *array = hide(operator_new_array(400));
    operator_delete_array(array);
    operator_delete_array(hide(array));
    return HARMLESS;
}

CASE(delete_sized_twice)
{
    if (operator_new == NULL || operator_delete_sized == NULL)
        return LACKS;
    void *object = hide(operator_new(40));
    operator_delete_sized(object, 40);
    operator_delete_sized(hide(object), 40);
    return HARMLESS;
}

CASE(delete_then_free)
{
    if (operator_new == NULL || operator_delete == NULL)
        return LACKS;
    void *object = hide(operator_new(40));
    operator_delete(object);
    free(hide(object));
    return HARMLESS;
}

CASE(free_sized_twice)
{
    if (free_sized == NULL)
        return LACKS;
    char *block = block_of(40);
    free_sized(block, 40);
    free_sized(hide(block), 40);
    return HARMLESS;
}

CASE(free_aligned_sized_twice)
{
    if (free_aligned_sized == NULL)
        return LACKS;
    char *block = hide(aligned_alloc(64, 128));
    free_aligned_sized(block, 64, 128);
    free_aligned_sized(hide(block), 64, 128);
    return HARMLESS;
}

CASE(double_free_after_thousands)
{
    static char *others[4000];
    char *block = block_of(48);
    for (int i = 0; i < 4000; i++)
        others[i] = block_of(48);
    free(block);
    for (int i = 0; i < 4000; i++)
        free(others[i]);
    free(hide(block));
    return HARMLESS;
}

CASE(double_free_after_other_sizes)
{
    char *block = block_of(48);
    free(block);
    for (size_t size = 64; size < 8192; size += 16)
        free(hide(malloc(size)));
    free(hide(block));
    return HARMLESS;
}

CASE(double_free_after_trim)
{
    char *block = block_of(48);
    char *other = block_of(48);
    free(block);
    malloc_trim(0);
    free(hide(block));
    free(other);
    return HARMLESS;
}

CASE(double_free_all_reversed)
{
    static char *blocks[200];
    for (int i = 0; i < 200; i++)
        blocks[i] = block_of(80);
    for (int i = 0; i < 200; i++)
        free(blocks[i]);
    for (int i = 199; i >= 0; i--)
        free(hide(blocks[i]));
    return HARMLESS;
}

/* What the child came to is what the program comes to. */
static int end_as_child(pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}

CASE(double_free_in_child)
{
    char *block = block_of(48);
    pid_t child = fork();
    if (child == 0)
        _exit(twice(block));
    return end_as_child(child);
}

CASE(double_free_across_fork)
{
    char *block = block_of(48);
    free(block);
    pid_t child = fork();
    if (child == 0) {
        free(hide(block));
        _exit(HARMLESS);
    }
    return end_as_child(child);
}

CASE(double_free_two_threads_in_turn)
{
    char *block = block_of(48);
    in_thread(free_in_thread, block);
    in_thread(free_in_thread, block);
    return HARMLESS;
}

static void *allocate_in_thread(void *argument)
{
    *(void **)argument = block_of(48);
    return NULL;
}

CASE(double_free_of_dead_threads_block)
{
    void *block;
    in_thread(allocate_in_thread, &block);
    return twice(block);
}

static pthread_key_t key;

static void *set_key(void *block)
{
    free(block);
    pthread_setspecific(key, block);
    return NULL;
}

CASE(double_free_at_threads_end)
{
    pthread_key_create(&key, free);
    in_thread(set_key, block_of(48));
    return HARMLESS;
}

static void free_at_exit(void)
{
    static char *block;
    if (block != NULL) {
        free(hide(block));
        return;
    }
    block = block_of(48);
    free(block);
    free_at_exit();
}

CASE(double_free_at_exit)
{
    atexit(free_at_exit);
    return HARMLESS;
}

CASE(double_free_line)
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL || getline(&line, &size, file) < 0)
        return LACKS;
    return twice(line);
}
