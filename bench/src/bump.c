/*
 * bump: a limit, not an allocator to use.  malloc moves a pointer, free does nothing.
 *
 * BUMP_READY_MIB of memory, in huge pages where the system gives them, is made resident before
 * main; threads cut chunks out of it.  When it is used up the process ends: figures that had page
 * faults in them would be no limit.
 */
#include "bench.h"

#include <malloc.h>
#include <stdatomic.h>

enum { CHUNK = 4 * MIB, HEAD = 16 };

static char *ready;               /* const after start */
static size_t ready_bytes;        /* const after start */
static _Atomic size_t used_bytes; /* atomic: chunks are cut by adding */
static char early[256 * KIB];     /* what is allocated before the constructor has run */
static size_t early_used;

static _Thread_local char *at __attribute__((tls_model("initial-exec")));
static _Thread_local char *end __attribute__((tls_model("initial-exec")));

__attribute__((constructor(101))) static void make_ready(void)
{
    const char *mib = getenv("BUMP_READY_MIB");
    size_t bytes = (size_t)(mib ? atol(mib) : 64) * MIB;
    char *p = bench_table(bytes);
    madvise(p, bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < bytes; i += PAGE)
        p[i] = 0; /* not bench_touch: calloc relies on zeros */
    ready_bytes = bytes;
    ready = p;
}

static void *refill(size_t need)
{
    if (!ready) {
        char *p = early + early_used;
        early_used += need;
        if (early_used > sizeof early)
            bench_die("bump: too much before start");
        return p;
    }
    size_t take = need > CHUNK ? need : CHUNK;
    size_t from = atomic_fetch_add(&used_bytes, take);
    if (from + take > ready_bytes)
        bench_die("bump: the memory that was ready is used up");
    at = ready + from + need;
    end = ready + from + take;
    return ready + from;
}

void *malloc(size_t size)
{
    size_t need = HEAD + ((size + 15) & ~(size_t)15);
    char *p = at;
    if ((size_t)(end - p) >= need)
        at = p + need;
    else
        p = refill(need);
    *(size_t *)p = size;
    return p + HEAD;
}

void free(void *p)
{
    (void)p;
}

/* Nothing is used twice, so it is all zero. */
void *calloc(size_t n, size_t size)
{
    return malloc(n * size);
}

void *realloc(void *p, size_t size)
{
    size_t old = p ? *(size_t *)((char *)p - HEAD) : 0;
    if (p && size <= old)
        return p;
    void *q = malloc(size);
    return p ? memcpy(q, p, old) : q;
}

void *aligned_alloc(size_t align, size_t size)
{
    char *p = malloc(size + align);
    char *q = (char *)(((uintptr_t)p + align - 1) & ~(uintptr_t)(align - 1));
    if (q != p)
        *(size_t *)(q - HEAD) = size;
    return q;
}

void *memalign(size_t align, size_t size)
{
    return aligned_alloc(align, size);
}

int posix_memalign(void **to, size_t align, size_t size)
{
    *to = aligned_alloc(align, size);
    return 0;
}
