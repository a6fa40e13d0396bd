/*
 * There is no thread key left: one line says so, once, and threads go on without one.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <sys/mman.h>

#if !TEST_SANITIZED /* which makes keys of its own */
int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    (void)key;
    (void)destructor;
    return EAGAIN;
}
#endif

static void *allocate(void *argument)
{
    void *block = hak_malloc(100);
    CHECK(block != NULL);
    hak_free(block);
    return argument;
}

int main(void)
{
    if (TEST_SANITIZED)
        return 77;
    char said[4096];
    int file = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    for (int i = 0; i < 3; i++)
        test_join(test_thread(allocate, NULL));
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    said[got > 0 ? got : 0] = '\0';
    CHECK(strcmp(
              said,
              "hakmem: no thread key is left: threads leave their caches behind when they end\n") ==
          0);
    return 0;
}
