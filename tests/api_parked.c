/*
 * Threads build what one thread goes on to work with after they have ended: it replaces all of it,
 * bit by bit, and the process does not grow by as much again.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <pthread.h>

enum { THREADS = 4, OBJECTS = 60000, ALL = THREADS * OBJECTS, ROUNDS = 4 };

static unsigned char *object[ALL];

static size_t size_of(test_rng_t *rng)
{
    return 64 + test_below(rng, 193);
}

static unsigned char *make(test_rng_t *rng)
{
    size_t size = size_of(rng);
    unsigned char *block = hak_malloc(size);
    CHECK(block != NULL);
    memset(block, (int)(size % 251), size);
    block[0] = (unsigned char)size;
    return block;
}

static void *load(void *argument)
{
    size_t id = (size_t)(uintptr_t)argument;
    test_rng_t rng = test_rng(id + 1);
    for (size_t i = 0; i < OBJECTS; i++)
        object[id * OBJECTS + i] = make(&rng);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, load, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    size_t loaded = hak_limit_committed();
    test_rng_t rng = test_rng(99);
    for (size_t i = 0; i < (size_t)ROUNDS * ALL; i++) {
        unsigned char **at = &object[test_below(&rng, ALL)];
        CHECK((*at)[1] == (*at)[2]);
        hak_free(*at);
        *at = make(&rng);
    }
    size_t worked = hak_limit_committed();
    CHECKF(worked < loaded + loaded / 2, " (%zu, then %zu)", loaded, worked);
    CHECK(hak_check() == 0);
    for (size_t i = 0; i < ALL; i++)
        hak_free(object[i]);
    CHECK(hak_check() == 0);
    return 0;
}
