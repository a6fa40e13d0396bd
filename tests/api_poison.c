/*
 * A build with AddressSanitizer reports uses of blocks of the hak_ names after they were freed:
 * each case runs in a child, whose report is looked at.  Blocks that are handed out again, of
 * whatever kind and wherever, must not be reported.
 */
#include "hak_names.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISONED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONED 1
#endif
#endif
#ifndef POISONED
#define POISONED 0
#endif

static volatile char sink;

static void read_after_free(size_t size)
{
    char *volatile block = t_malloc(size);
    CHECK(block != NULL);
    memset(block, 1, size);
    t_free(block);
    sink = block[size / 2];
}

static void write_after_free(size_t size)
{
    char *volatile block = t_aligned_alloc(64, size);
    CHECK(block != NULL);
    t_free_aligned_sized(block, 64, size);
    block[size - 1] = 1;
}

static void use_after_realloc(size_t size)
{
    char *volatile block = t_calloc(1, size);
    CHECK(block != NULL);
    char *neighbour = t_malloc(size); /* so that it has to move */
    char *moved = t_realloc(block, size * 3 + 4096);
    CHECK(moved != NULL && neighbour != NULL);
    if (moved != block)
        sink = block[0];
    else
        _exit(3); /* grown in place */
}

static void use_of_heap_block(size_t size)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    char *volatile block = t_heap_malloc(heap, size);
    CHECK(block != NULL);
    t_free(block);
    sink = block[0];
}

static void *free_it(void *block)
{
    t_free(block);
    return NULL;
}

static void freed_by_other_thread(size_t size)
{
    char *volatile block = t_malloc(size);
    CHECK(block != NULL);
    test_join(test_thread(free_it, block));
    sink = block[0];
}

static void check_report(const char *name, void (*body)(size_t size), size_t size)
{
    int file = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(file >= 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        (void)dup2(file, 2);
        alarm(60);
        body(size);
        _exit(0);
    }
    int status = 0;
    static char said[64 * 1024];
    CHECK(waitpid(pid, &status, 0) == pid);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    CHECK(got >= 0 && close(file) == 0);
    said[got] = '\0';
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        return;
    CHECKF(!(WIFEXITED(status) && WEXITSTATUS(status) == 0), " (%s, %zu bytes)", name, size);
    CHECKF(strstr(said, "AddressSanitizer: use-after-poison") != NULL, " (%s, %zu bytes: '%s')",
           name, size, said);
    CHECKF(strstr(said, "api_poison.c") != NULL, " (%s, %zu bytes: '%s')", name, size, said);
}

/* What is handed out again is the program's, also where something else lay before. */
static void check_reuse(void)
{
    static const size_t sizes[] = {8, 100, 1000, 20000, 64 * KIB, 200 * KIB, 3 * MIB, 9 * MIB};
    char *blocks[64];
    for (int round = 0; round < 200; round++) {
        size_t size = sizes[(size_t)round % TEST_COUNT(sizes)];
        size_t count = size > MIB ? 4 : TEST_COUNT(blocks);
        hak_heap_t *heap = round % 5 == 0 ? hak_heap_create() : NULL;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = heap != NULL ? t_heap_malloc(heap, size)
                        : i % 3 == 0 ? t_calloc(1, size)
                        : i % 3 == 1 ? t_aligned_alloc((size_t)8 << i % 12, size)
                                     : t_malloc(size);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], (int)i, t_usable_size(blocks[i]));
        }
        for (size_t i = 0; i < count; i += 2) {
            blocks[i] = t_realloc(blocks[i], i % 4 == 0 ? size * 2 : size / 2 + 1);
            CHECK(blocks[i] != NULL);
            memset(blocks[i], (int)i, t_usable_size(blocks[i]));
        }
        for (size_t i = 0; i < count && (heap == NULL || i < count / 2); i++)
            t_free(blocks[i]);
        if (heap != NULL)
            hak_heap_destroy(heap);
        if (round % 7 == 0)
            (void)hak_trim(0);
    }
    /* The system gets memory back as it gave it. */
    char *other = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(other != MAP_FAILED);
    memset(other, 1, 64 * MIB);
    CHECK(munmap(other, 64 * MIB) == 0);
    CHECK(t_check() == 0);
}

int main(void)
{
    static const size_t sizes[] = {8, 16, 100, 1024, 5000, 64 * KIB, 200 * KIB, 3 * MIB};
    check_reuse();
    if (!POISONED) {
        puts("reports are for builds with AddressSanitizer");
        return 0;
    }
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        check_report("read after free", read_after_free, sizes[i]);
        check_report("write after free", write_after_free, sizes[i]);
        check_report("use after realloc", use_after_realloc, sizes[i]);
        check_report("use of a heap's block", use_of_heap_block, sizes[i]);
        check_report("freed by another thread", freed_by_other_thread, sizes[i]);
    }
    return 0;
}
