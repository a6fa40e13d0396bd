/*
 * micro_sizes: realloc, calloc, aligned blocks, and blocks beyond the small ones, where allocators
 * change their method: page runs, mappings of their own.
 */
#include "micro.h"

/* ---- realloc ---- */

struct vector {
    char *data;
    size_t size;
};

/* One growth step by half, to at most `limit`; the old contents must come along. */
static void grow(struct vector *v, size_t limit)
{
    size_t size = v->size ? v->size + v->size / 2 : 16;
    if (size > limit)
        size = limit;
    char *p = bench_some(realloc(v->data, size));
    if (v->size && (p[0] != 'a' || p[v->size - 1] != 'z'))
        bench_die("realloc lost contents");
    bench_touch(p, v->size, size);
    p[0] = 'a';
    p[size - 1] = 'z';
    v->data = p;
    v->size = size;
}

/* A program that reads data of unknown length into vectors: many grow to 1 MiB at the same time. */
static uint64_t realloc_many(struct worker *w)
{
    enum { VECTORS = 100 };
    struct vector many[VECTORS];
    uint64_t ops = 0, rounds = micro_scaled(6);
    for (uint64_t round = 0; round < rounds; round++) {
        memset(many, 0, sizeof many);
        for (unsigned full = 0; full < VECTORS;) {
            struct vector *v = &many[bench_next(&w->seed) % VECTORS];
            if (v->size == MIB)
                continue;
            grow(v, MIB);
            full += v->size == MIB;
            ops++;
        }
        for (unsigned i = 0; i < VECTORS; i++)
            free(many[i].data);
    }
    return ops;
}

/* One that grows to hundreds of MiB: a file read whole, a table in memory. */
static uint64_t realloc_grow(struct worker *w)
{
    size_t limit = (size_t)micro_scaled((size_t)437 * MIB);
    struct vector one = {NULL, 0};
    uint64_t ops = 0;
    for (; one.size < limit; ops++)
        grow(&one, limit);
    free(one.data);
    (void)w;
    return ops;
}

/* A string of 32 bytes to 8 KiB: doubled as it grows, and trimmed to its length once that is
 * known. */
static void *get_trimmed(uint32_t *seed)
{
    uint32_t r = bench_next(seed);
    size_t least = (size_t)32 << r % 8, length = least + (r >> 8) % least;
    char *p = get(32);
    for (size_t size = 32; size < length; size *= 2) {
        p = bench_some(realloc(p, 2 * size));
        bench_touch(p, size, 2 * size);
    }
    void **string = bench_some(realloc(p, length));
    *string = string;
    return string;
}

/* A parser or a builder, with thousands of strings that are read byte by byte; what Rust's Vec and
 * String do on their way into a box.  One operation = one string. */
static uint64_t realloc_trim(struct worker *w)
{
    enum { STRINGS = 20000 };
    uint64_t ops = micro_scaled(300000);
    void **string = slot_table(STRINGS);
    for (uint64_t i = 0; i < ops; i++) {
        void **at = &string[bench_next(&w->seed) % STRINGS];
        if (*at)
            put(*at);
        *at = get_trimmed(&w->seed);
    }
    drain(string, STRINGS);
    return ops;
}

/* ---- calloc and aligned_alloc ---- */

/* A zeroed block; dirties it afterwards, whole when small, a byte a page otherwise. */
static void *get_zeroed(size_t size)
{
    char *p = bench_some(calloc(1, size));
    for (size_t i = 0; i < size; i += size < PAGE ? 8 : PAGE)
        if (p[i])
            bench_die("calloc returned a dirty block");
    if (p[size - 1])
        bench_die("calloc returned a dirty block");
    if (size < PAGE)
        memset(p, 1, size);
    else
        bench_touch(p, 0, size);
    return p;
}

static uint64_t calloc_among(struct worker *w, uint32_t live, uint64_t rounds)
{
    void **slots = slot_table(live);
    for (uint64_t i = 0; i < rounds; i++) {
        void **slot = &slots[bench_next(&w->seed) % live];
        free(bench_keep(*slot));
        *slot = get_zeroed(size_between(bench_next(&w->seed), w->load->low, w->load->high));
    }
    drain(slots, live);
    return rounds;
}

static uint64_t calloc_small(struct worker *w)
{
    return calloc_among(w, 1000, micro_scaled(6000000));
}

static uint64_t calloc_large(struct worker *w)
{
    return calloc_among(w, 16, micro_scaled(3000));
}

/* Vector code, cache-line-sized objects, direct I/O: alignments of 16 to 4096. */
static uint64_t aligned(struct worker *w)
{
    enum { LIVE = 1000 };
    uint64_t rounds = micro_scaled(5000000);
    void **slots = slot_table(LIVE);
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t r = bench_next(&w->seed);
        void **slot = &slots[r % LIVE];
        size_t align = (size_t)16 << (r >> 16) % 9; /* 16 .. 4096 */
        size_t size = (small_size(bench_next(&w->seed)) + align - 1) & ~(align - 1);
        if (*slot)
            put(*slot);
        *slot = bench_some(aligned_alloc(align, size));
        if ((uintptr_t)*slot & (align - 1))
            bench_die("aligned_alloc returned a misaligned block");
        *(void **)*slot = *slot;
    }
    drain(slots, LIVE);
    return rounds;
}

/* ---- beyond small ---- */

static uint64_t touched_among(struct worker *w, uint32_t live, uint64_t rounds)
{
    void **slots = slot_table(live);
    for (uint64_t i = 0; i < rounds; i++) {
        void **slot = &slots[bench_next(&w->seed) % live];
        size_t size = size_between(bench_next(&w->seed), w->load->low, w->load->high);
        replace(slot, size);
        bench_touch(*slot, PAGE, size);
    }
    drain(slots, live);
    return rounds;
}

static uint64_t medium(struct worker *w)
{
    return touched_among(w, 1000, micro_scaled(1500000));
}

static uint64_t large(struct worker *w)
{
    return touched_among(w, 50, micro_scaled(6000));
}

/*
 * Sizes just below, at and above the powers of two at which allocators change their method, 32 KiB
 * to 32 MiB; few live, the first and the last page written: a decoder's frames, a database's
 * buffers.
 */
static uint64_t threshold(struct worker *w)
{
    enum { LIVE = 8, POWERS = 11 };
    static const long offset[] = {-4096, -16, 0, 16, 4096};
    uint64_t rounds = micro_scaled(60000);
    void **slots = slot_table(LIVE);
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t r = bench_next(&w->seed);
        size_t base = (size_t)32 * KIB << (r >> 8) % POWERS;
        size_t size = base + (size_t)offset[(r >> 16) % 5];
        void **slot = &slots[r % LIVE];
        replace(slot, size);
        ((char *)*slot)[size - 1] = 1;
    }
    drain(slots, LIVE);
    return rounds;
}

const struct workload micro_sizes[] = {
    {"realloc_many", realloc_many, 1, 1, "100 vectors that grow to 1 MiB; op = realloc", 0, 0, 0},
    {"realloc_grow", realloc_grow, 1, 1, "one vector that grows to 437 MiB; op = realloc", 0, 0, 0},
    {"realloc_trim", realloc_trim, 1, 1, "strings doubled, then trimmed, among 20,000; op = string",
     0, 0, 0},
    {"calloc_small", calloc_small, 1, 1, "zeroed objects, 16..512 B among 1,000", 16, 512, 0},
    {"calloc_large", calloc_large, 1, 1, "zeroed buffers, 64 KiB..1 MiB among 16", 64 * KIB, MIB,
     0},
    {"aligned", aligned, 1, 1, "aligned_alloc on 16..4096 among 1,000", 0, 0, 0},
    {"medium", medium, 1, 1, "I/O buffers, 4..64 KiB among 1,000, a byte a page written", 4 * KIB,
     64 * KIB, 0},
    {"large", large, 1, 1, "images and matrices, 100 KiB..4 MiB among 50, a byte a page written",
     100 * KIB, 4 * MIB, 0},
    {"threshold", threshold, 1, 1,
     "around powers of two, 32 KiB..32 MiB among 8, two pages written", 0, 0, 0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
