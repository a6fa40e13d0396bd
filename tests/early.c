/*
 * early: see early.h.
 */
#include "early.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, FORKS = 100, SLOTS = 64, CHILD_BLOCKS = 200, CHILD_SECONDS = 20 };

char *early_blocks[EARLY_BLOCKS];
int early_forked, early_ended;

static atomic_bool stopped;

/* Sizes that take slow paths, now and then large ones. */
static void *allocate(void *argument)
{
    void *slots[SLOTS] = {NULL};
    unsigned random = *(const unsigned *)argument;
    while (!atomic_load(&stopped)) {
        random = random * 1103515245 + 12345;
        unsigned slot = (random >> 10) % SLOTS;
        free(slots[slot]);
        slots[slot] = malloc((random >> 16) % 60000 + 1000);
    }
    for (int i = 0; i < SLOTS; i++)
        free(slots[i]);
    return NULL;
}

/* The child needs every part of the allocator.  One that waits for ever is ended by its alarm. */
static void in_child(void)
{
    void *blocks[CHILD_BLOCKS];
    alarm(CHILD_SECONDS);
    for (int i = 0; i < CHILD_BLOCKS; i++)
        blocks[i] = malloc((size_t)i * 700);
    for (int i = 0; i < CHILD_BLOCKS; i++)
        free(blocks[i]);
    _exit(0);
}

static void fork_beside_threads(void)
{
    pthread_t threads[THREADS];
    static unsigned seeds[THREADS] = {1, 2, 3};
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, allocate, &seeds[i]) != 0)
            abort();
    for (int ends = 1; ends && early_forked < FORKS; early_forked++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0)
            in_child();
        ends = child > 0 && waitpid(child, &status, 0) == child && status == 0;
        early_ended += ends;
    }
    atomic_store(&stopped, 1);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
}

__attribute__((constructor)) static void construct(void)
{
    for (int i = 0; i < EARLY_BLOCKS; i++)
        if ((early_blocks[i] = malloc(EARLY_BYTES)) == NULL)
            abort();
    fork_beside_threads();
}
