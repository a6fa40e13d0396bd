/*
 * random: see random.h.
 */
#define _GNU_SOURCE
#include "random.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t hk_random_seed(void)
{
    int saved = errno;
    uint64_t seed = 0;
    /* Not by the C library: its getrandom is where a thread may be cancelled. */
    if (syscall(SYS_getrandom, &seed, sizeof seed, GRND_NONBLOCK) != (long)sizeof seed) {
        /* A kernel that has no randomness yet, or a sandbox: the process's own 16 bytes, and where
         * it lies. */
        const void *random = (const void *)getauxval(AT_RANDOM);
        if (random != NULL) {
            memcpy(&seed, random, sizeof seed);
        }
        seed ^= (uintptr_t)&seed * 0x9e3779b97f4a7c15u;
    }
    errno = saved;
    return seed | 1;
}
