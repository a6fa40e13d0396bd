/*
 * The usual errors, one by argument, for preload_memcheck.py, which looks whether memcheck finds
 * them.  Without an argument it does nothing wrong.  It knows nothing of HAKMEM; linked with it, it
 * is memcheck_static and memcheck_shared besides.
 */
#include "test.h"

#include <new>

static void *volatile sink;

/* Whatever the compiler knows about malloc, it does not know this. */
static char *block_of(size_t bytes)
{
    void *volatile block = malloc(bytes);
    CHECK(block != NULL);
    return (char *)block;
}

static void invalid_write(size_t bytes)
{
    char *volatile block = block_of(bytes);
    block[bytes] = 1;
    free(block);
}

static void invalid_read(size_t bytes)
{
    char *volatile block = block_of(bytes);
    memset(block, 1, bytes);
    sink = (void *)(uintptr_t)block[bytes + 3];
    free(block);
}

static void use_after_free(size_t bytes)
{
    char *volatile block = block_of(bytes);
    memset(block, 1, bytes);
    free(block);
    sink = (void *)(uintptr_t)block[bytes / 2];
}

static void double_free(size_t bytes)
{
    char *volatile block = block_of(bytes);
    free(block);
    free(block);
}

static void leak(size_t bytes)
{
    sink = block_of(bytes);
    sink = NULL;
}

static void mismatched_free(size_t bytes)
{
    ::operator delete(block_of(bytes));
}

static void uninitialised(size_t bytes)
{
    char *volatile block = block_of(bytes);
    if (block[bytes / 2] == 42)
        sink = block;
    free(block);
}

static void nothing(size_t bytes)
{
    char *block = (char *)calloc(1, bytes);
    CHECK(block != NULL);
    char *moved = (char *)realloc(block, 2 * bytes);
    CHECK(moved != NULL && test_is_filled_with(moved, 0, bytes));
    free(moved);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(size_t bytes);
    } errors[] = {
        {"invalid_write", invalid_write},
        {"invalid_read", invalid_read},
        {"use_after_free", use_after_free},
        {"double_free", double_free},
        {"leak", leak},
        {"mismatched_free", mismatched_free},
        {"uninitialised", uninitialised},
        {"nothing", nothing},
    };
    size_t bytes = (size_t)test_arg(argc, argv, 2, 100);
    for (size_t i = 0; i < TEST_COUNT(errors); i++) {
        if (strcmp(argc > 1 ? argv[1] : "nothing", errors[i].name) == 0) {
            errors[i].run(bytes);
            return 0;
        }
    }
    return 2;
}
