/*
 * What both consumers check: that the library answers, and that malloc is its own.
 */
#ifndef CONSUMER_H
#define CONSUMER_H

#include <hakmem/hakmem.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A block of HAKMEM: it knows how large it is, and says the same under both names.  It has the good
 * size, which with sampling is what was asked for, and less than other blocks have. */
static inline void check_block(void *block, size_t size)
{
    CHECK(block != NULL);
    CHECK(hak_usable_size(block) >= hak_good_size(size));
    CHECK(hak_usable_size(block) == malloc_usable_size(block));
    memset(block, 1, size);
}

static inline void check_library(void)
{
    CHECK(hak_version() ==
          HAKMEM_VERSION_MAJOR * 10000 + HAKMEM_VERSION_MINOR * 100 + HAKMEM_VERSION_PATCH);

    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    CHECK(stats.version == (uint32_t)hak_version());

    /* Allocated by one name and freed by the other, both ways. */
    void *block = malloc(1000);
    check_block(block, 1000);
    hak_free(block);
    block = hak_malloc(100000);
    check_block(block, 100000);
    free(block);

    /* The C library's own allocations are HAKMEM's too. */
    char *copy = strdup("a string of some forty characters, no more");
    CHECK(hak_usable_size(copy) >= hak_good_size(strlen(copy) + 1));
    free(copy);
    CHECK(hak_check() == 0);
}

/* In a child process as well. */
static inline void check_fork(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        void *block = malloc(300);
        check_block(block, 300);
        free(block);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

#endif
