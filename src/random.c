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
    /* A direct call: the C library's getrandom is a point where a thread may be cancelled. */
    if (syscall(SYS_getrandom, &seed, sizeof seed, GRND_NONBLOCK) != (long)sizeof seed) {
        /* The kernel has no randomness yet, or a sandbox refuses: the process's own 16 random bytes
         * and an address of its stack serve instead. */
        const void *random = (const void *)getauxval(AT_RANDOM);
        if (random != NULL) {
            memcpy(&seed, random, sizeof seed);
        }
        seed ^= (uintptr_t)&seed * 0x9e3779b97f4a7c15u;
    }
    errno = saved;
    return seed | 1;
}
