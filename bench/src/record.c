/*
 * record: a library to preload into a program, that records how the program uses its heap: sizes,
 * lives, reallocs, and the peak of live bytes.  At the program's end it appends one line to the
 * file that RECORD_FILE names; bench/record reads these.
 *
 * The blocks come from the C library, under the names it has for itself.  What is known of a block
 * lies in a table of its own, under one lock: recording is slow, and meant to be.  A child of fork
 * writes no line.
 */
#include "mix.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

enum { TABLE_BITS = 25 }; /* 32 M places: more live blocks than any program here has */

/* Open addressing; `block` 0 is free, 1 was one. */
static struct entry {
    uintptr_t block;
    uint64_t birth;
    size_t size;
} * table; /* lock(lock), as all below */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t births, callocs, frees, reallocs, grown, growth_permille_sum;
static uint64_t sizes[MIX_BUCKETS], lives[MIX_BANDS][MIX_LIVES];
static size_t live_bytes, peak_bytes;
static uint64_t live_blocks, peak_blocks;

static size_t place(uintptr_t block)
{
    return (size_t)((block >> 4) * 0x9E3779B97F4A7C15u >> (64 - TABLE_BITS));
}

static bool table_ready(void)
{
    if (!table) {
        table = mmap(NULL, sizeof *table << TABLE_BITS, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (table == MAP_FAILED)
            table = NULL;
    }
    return table != NULL;
}

static void born_locked(void *block, size_t size)
{
    if (!block || !table_ready())
        return;
    size_t at = place((uintptr_t)block), mask = ((size_t)1 << TABLE_BITS) - 1;
    while (table[at].block > 1)
        at = (at + 1) & mask;
    table[at] = (struct entry){(uintptr_t)block, births++, size};
    sizes[mix_bucket(size)]++;
    live_bytes += size;
    peak_bytes = live_bytes > peak_bytes ? live_bytes : peak_bytes;
    live_blocks++;
    peak_blocks = live_blocks > peak_blocks ? live_blocks : peak_blocks;
}

static struct entry *find_locked(void *block)
{
    if (!block || !table)
        return NULL;
    size_t at = place((uintptr_t)block), mask = ((size_t)1 << TABLE_BITS) - 1;
    while (table[at].block && table[at].block != (uintptr_t)block)
        at = (at + 1) & mask;
    return table[at].block ? &table[at] : NULL;
}

/* Forgets the block; its size, or 0 when it was never seen. */
static size_t ended_locked(void *block)
{
    struct entry *entry = find_locked(block);
    if (!entry)
        return 0;
    uint64_t life = births - entry->birth;
    unsigned bucket = life ? 64 - (unsigned)__builtin_clzl(life) : 0;
    size_t size = entry->size;
    lives[mix_band(size)][bucket < MIX_LIVES - 1 ? bucket : MIX_LIVES - 2]++;
    entry->block = 1;
    live_bytes -= size;
    live_blocks--;
    return size;
}

static void *noted(void *block, size_t size)
{
    pthread_mutex_lock(&lock);
    born_locked(block, size);
    pthread_mutex_unlock(&lock);
    return block;
}

/* ---- the malloc family ---- */

void *malloc(size_t size)
{
    return noted(__libc_malloc(size), size);
}

void *calloc(size_t n, size_t size)
{
    void *block = noted(__libc_calloc(n, size), n * size);
    __atomic_fetch_add(&callocs, 1, __ATOMIC_RELAXED);
    return block;
}

void free(void *block)
{
    if (!block)
        return;
    pthread_mutex_lock(&lock);
    frees += ended_locked(block) != 0;
    pthread_mutex_unlock(&lock);
    __libc_free(block);
}

/* Under the lock throughout: else another thread could be given the old block before it is
 * forgotten. */
void *realloc(void *block, size_t size)
{
    if (!block)
        return malloc(size);
    pthread_mutex_lock(&lock);
    void *moved = __libc_realloc(block, size);
    if (moved || size == 0) {
        size_t old = ended_locked(block);
        born_locked(moved, size);
        reallocs++;
        if (old && size > old) {
            uint64_t permille = size * 1000 / old;
            growth_permille_sum += permille < 4000 ? permille : 4000;
            grown++;
        }
    }
    pthread_mutex_unlock(&lock);
    return moved;
}

void *memalign(size_t align, size_t size)
{
    return noted(__libc_memalign(align, size), size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

int posix_memalign(void **to, size_t align, size_t size)
{
    void *block = memalign(align, size);
    if (block)
        *to = block;
    return block ? 0 : ENOMEM;
}

/* What was asked for: a program that would use more than that would blur the sizes. */
size_t malloc_usable_size(void *block)
{
    pthread_mutex_lock(&lock);
    struct entry *entry = find_locked(block);
    size_t size = entry ? entry->size : 0;
    pthread_mutex_unlock(&lock);
    return size;
}

/* ---- the line at the end ---- */

static pid_t main_pid;

__attribute__((constructor)) static void remember_pid(void)
{
    main_pid = getpid();
}

/* What still lives at the end lived to the end. */
static void count_survivors(void)
{
    for (size_t i = 0; table && i < (size_t)1 << TABLE_BITS; i++)
        if (table[i].block > 1)
            lives[mix_band(table[i].size)][MIX_LIVES - 1]++;
}

static void print_numbers(int fd, const char *name, const uint64_t *n, unsigned count)
{
    dprintf(fd, " %s=", name);
    for (unsigned i = 0; i < count; i++)
        dprintf(fd, i ? ",%lu" : "%lu", (unsigned long)n[i]);
}

__attribute__((destructor)) static void write_line(void)
{
    const char *path = getenv("RECORD_FILE");
    if (!path || getpid() != main_pid)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    count_survivors();
    dprintf(fd, "program=%s births=%lu callocs=%lu frees=%lu reallocs=%lu grown=%lu growth=%lu",
            program_invocation_short_name, (unsigned long)births, (unsigned long)callocs,
            (unsigned long)frees, (unsigned long)reallocs, (unsigned long)grown,
            (unsigned long)(grown ? growth_permille_sum / grown : 0));
    dprintf(fd, " peak_bytes=%zu peak_blocks=%lu", peak_bytes, (unsigned long)peak_blocks);
    print_numbers(fd, "sizes", sizes, MIX_BUCKETS);
    for (unsigned i = 0; i < MIX_BANDS; i++)
        print_numbers(fd, "lives", lives[i], MIX_LIVES);
    dprintf(fd, "\n");
    close(fd);
}
