/*
 * mix: how a recorded program uses its heap, as small histograms.  bench/src/record.c makes them,
 * bench/record writes them to mix_tables.h, micro_trace.c plays them back.
 *
 * A size bucket is 16 bytes wide up to 1 KiB, then an eighth of a power of two.  A life is counted
 * in allocations of the whole process between a block's birth and its end, in buckets of powers of
 * two.  Lives depend on sizes, so they are kept for each of four bands of sizes.
 */
#ifndef MIX_H
#define MIX_H

#include <stddef.h>
#include <stdint.h>

enum {
    MIX_SMALL_BUCKETS = 64, /* 16 bytes each */
    MIX_BUCKETS = MIX_SMALL_BUCKETS + 8 * 17,
    MIX_LIVES = 25, /* life below 2^i allocations; the last one: to the end of the program */
    MIX_BANDS = 4
};

struct mix {
    uint32_t realloc_permille;           /* ends of blocks that were reallocs, of 1000 */
    uint32_t growth_percent;             /* new size of a growing realloc, mean, of the old */
    uint32_t calloc_permille;            /* of allocations */
    uint32_t size[MIX_BUCKETS];          /* of 1,000,000 allocations */
    uint32_t life[MIX_BANDS][MIX_LIVES]; /* of 1,000,000 blocks of the band */
};

static inline unsigned mix_bucket(size_t size)
{
    if (size <= 1024)
        return size ? (unsigned)((size - 1) / 16) : 0;
    unsigned power = 63 - (unsigned)__builtin_clzl(size - 1); /* 10 for 1025 .. 2048 */
    unsigned eighth = (unsigned)((size - 1) >> (power - 3)) & 7;
    unsigned bucket = MIX_SMALL_BUCKETS + 8 * (power - 10) + eighth;
    return bucket < MIX_BUCKETS ? bucket : MIX_BUCKETS - 1;
}

/* The largest size of a bucket. */
static inline size_t mix_bucket_size(unsigned bucket)
{
    if (bucket < MIX_SMALL_BUCKETS)
        return 16 * ((size_t)bucket + 1);
    unsigned power = 10 + (bucket - MIX_SMALL_BUCKETS) / 8,
             eighth = (bucket - MIX_SMALL_BUCKETS) % 8;
    return ((size_t)9 + eighth) << (power - 3);
}

static inline unsigned mix_band(size_t size)
{
    return size <= 64 ? 0 : size <= 512 ? 1 : size <= 4096 ? 2 : 3;
}

#endif
