/*
 * Two threads free a direct mapping at the same time: the second is told, however far it has come.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <signal.h>

#include "large.h"
#include "span.h"

enum { ROUNDS = 100, WALLED_BYTES = 100 * 1024, PLAIN_BYTES = 40 << 20 };

/* Both threads have found the mapping before either frees it. */
static void test_second_is_told(size_t bytes)
{
    void *block = hak_malloc(bytes);
    hk_large_t *large = (hk_large_t *)hk_registry_find(block);
    CHECK(large->region.kind == HK_REGION_LARGE && large->address == block);
    size_t used = hk_large_used_bytes();
    CHECK(hk_span_free_large(large, block));
    CHECK(hk_large_used_bytes() == used - large->bytes && hak_check() == 0);
    CHECK(!hk_span_free_large(large, block));
}

static void *shared;
static pthread_barrier_t barrier;

static void *free_shared(void *argument)
{
    pthread_barrier_wait(&barrier);
    hak_free(shared);
    return argument;
}

static void free_by_two(void)
{
    CHECK(close(STDERR_FILENO) == 0); /* it says so each time */
    shared = hak_malloc(PLAIN_BYTES);
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    pthread_t other = test_thread(free_shared, NULL);
    (void)free_shared(NULL);
    test_join(other);
}

static void test_two_threads(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            free_by_two();
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (status 0x%x)", status);
    }
}

int main(void)
{
    test_second_is_told(WALLED_BYTES);
    test_second_is_told(PLAIN_BYTES);
    test_two_threads();
    return 0;
}
