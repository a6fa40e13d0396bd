/*
 * What hakmem.h tells the compiler: right uses are no warning and blocks have bounds; each MISTAKE
 * is a warning of gcc's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As programs have them that count their blocks. */
#define malloc(size) count_malloc(size, __FILE__, __LINE__)
#define free(block) count_free(block, __FILE__, __LINE__)
#include <hakmem/hakmem.h>
#undef malloc
#undef free

#ifdef MISTAKE
static void mistake(void)
{
#if MISTAKE == 1
    hak_heap_t *heap = hak_heap_create();
    free(heap);
#elif MISTAKE == 2
    char *block = hak_malloc(10);
    hak_free(block + 1);
#elif MISTAKE == 3
    char *block = hak_malloc(10);
    if (block != NULL) {
        memset(block, 1, 11);
        puts(block);
    }
    hak_free(block);
#else
    FILE *file = hak_malloc(10);
    fclose(file);
#endif
}
#endif

static void all_ways(hak_heap_t *heap)
{
    hak_free(hak_malloc(10));
    free(hak_malloc(10));
    hak_free(hak_realloc(hak_calloc(2, 5), 20));
    free(hak_realloc(hak_aligned_alloc(64, 64), 128));
    free(realloc(hak_reallocarray(NULL, 2, 5), 20));
    hak_free_sized(hak_malloc(10), 10);
    hak_free_aligned_sized(hak_aligned_alloc(64, 64), 64, 64);
    hak_free(hak_heap_realloc(heap, hak_heap_malloc(heap, 10), 20));
    free(hak_realloc(hak_heap_calloc(heap, 2, 5), 20));
    hak_free(hak_heap_aligned_alloc(heap, 64, 64));
}

int main(void)
{
    hak_heap_t *heap = hak_heap_create();
    char *block = hak_malloc(10);
    char *array = hak_heap_calloc(heap, 2, 5);
    int bounded = __builtin_object_size(block, 0) == 10 && __builtin_object_size(array, 0) == 10;
    all_ways(heap);
    hak_free(block);
    hak_heap_destroy(heap);
#ifdef MISTAKE
    mistake();
#endif
    puts(bounded ? "consumer: ok" : "consumer: blocks have no bounds");
}
