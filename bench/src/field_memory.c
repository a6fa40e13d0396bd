/*
 * field_memory: what stays resident after work is done, and what a growing block costs.
 *
 * The workers of these tests stay alive and idle, blocked on a barrier, as a server's threads do
 * between requests: an allocator that gives memory back only when the owner calls in keeps it.
 */
#include "field.h"

#include <malloc.h>
#include <pthread.h>

static pthread_barrier_t gate; /* the workers and main: made; told to end */

static void start_thread(pthread_t *thread, void *(*body)(void *), void *argument)
{
    if (pthread_create(thread, NULL, body, argument) != 0)
        bench_die("pthread_create failed");
}

/* ---- memory that main freed and the idle owners never see again ---- */

enum { WORKERS = 4, WORKER_MIB = 77, BLOCKS_MAX = WORKER_MIB * MIB / 16 };

struct worker {
    void **block;
    size_t blocks;
    uint32_t seed;
};

/* 16 bytes to 4 KiB, small ones more often, as in most programs. */
static size_t mixed_size(uint32_t *seed)
{
    uint32_t r = bench_next(seed);
    return 16 + (r >> 8) % (64u << (r & 7) % 7);
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    for (size_t bytes = 0; bytes < (size_t)WORKER_MIB * MIB;) {
        size_t size = mixed_size(&w->seed);
        w->block[w->blocks++] = memset(bench_some(malloc(size)), 1, size);
        bytes += size;
    }
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    return NULL;
}

/*
 * A service after its busy hour.  live_mib: RSS with all blocks live; idle_mib: the given seconds
 * after main freed all of them; trim_mib: after malloc_trim(0), which some replacements leave to
 * the C library; exit_mib: after the workers ended.
 */
void field_idle_return(const char *seconds)
{
    static struct worker workers[WORKERS];
    pthread_t thread[WORKERS];
    size_t table_bytes = BLOCKS_MAX * sizeof(void *);
    pthread_barrier_init(&gate, NULL, WORKERS + 1);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){bench_table(table_bytes), 0, 77u + (uint32_t)i};
        start_thread(&thread[i], worker_main, &workers[i]);
    }
    pthread_barrier_wait(&gate);
    long live = bench_status_kib("VmRSS:");
    double start = bench_now();
    for (int i = 0; i < WORKERS; i++) {
        for (size_t k = 0; k < workers[i].blocks; k++)
            free(bench_keep(workers[i].block[k]));
        bench_table_drop(workers[i].block, table_bytes);
    }
    double freeing = bench_now() - start;
    long freed = bench_status_kib("VmRSS:");
    bench_sleep((double)field_number(seconds, 13));
    long idle = bench_status_kib("VmRSS:");
    malloc_trim(0);
    long trimmed = bench_status_kib("VmRSS:");
    pthread_barrier_wait(&gate);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    bench_sleep(0.2);
    printf("live_mib=%.1f freed_mib=%.1f idle_mib=%.1f trim_mib=%.1f exit_mib=%.1f free_ms=%.0f\n",
           (double)live / KIB, (double)freed / KIB, (double)idle / KIB, (double)trimmed / KIB,
           (double)bench_status_kib("VmRSS:") / KIB, freeing * 1e3);
}

/* ---- hundreds of idle threads ---- */

enum { SIZES = 64 };

/* Allocates 64 sizes from 16 bytes to about 8.5 KiB, writes all of them, frees all of them. */
static void *idler_main(void *unused)
{
    void *block[SIZES];
    size_t size = 16;
    for (int i = 0; i < SIZES; i++, size += size / 10 + 1)
        block[i] = memset(bench_some(malloc(size)), 1, size);
    for (int i = 0; i < SIZES; i++)
        free(bench_keep(block[i]));
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    return unused;
}

/*
 * A server with a thread for each connection, most of them idle.  thread_kib: what each live idle
 * thread adds to RSS, its stack included; exit_mib: RSS of the process after all of them ended.
 */
void field_idle_threads(const char *threads)
{
    unsigned n = (unsigned)field_number(threads, 500);
    pthread_t *thread = bench_table(n * sizeof *thread);
    pthread_barrier_init(&gate, NULL, n + 1);
    free(bench_some(malloc(16)));
    long before = bench_status_kib("VmRSS:");
    for (unsigned i = 0; i < n; i++)
        start_thread(&thread[i], idler_main, NULL);
    pthread_barrier_wait(&gate);
    bench_sleep(0.2);
    long idle = bench_status_kib("VmRSS:");
    pthread_barrier_wait(&gate);
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    bench_sleep(0.2);
    long after = bench_status_kib("VmRSS:");
    printf("threads=%u thread_kib=%.1f exit_mib=%.1f before_mib=%.1f\n", n,
           (double)(idle - before) / n, (double)after / KIB, (double)before / KIB);
}

/* ---- one growing block ---- */

/* A text buffer or a vector that only grows; every page is written.  ms, and peak RSS in MiB. */
void field_realloc_growth(const char *mib)
{
    size_t limit = (size_t)field_number(mib, 437) * MIB, size = 16;
    double start = bench_now();
    char *p = bench_some(malloc(size));
    p[0] = 'a';
    for (size_t grown; size < limit; size = grown) {
        grown = size + size / 2 < limit ? size + size / 2 : limit;
        p = bench_some(realloc(p, grown));
        bench_touch(p, size, grown);
        if (p[0] != 'a')
            bench_die("realloc lost contents");
    }
    free(bench_keep(p));
    printf("ms=%.1f peak_mib=%.1f after_mib=%.1f\n", (bench_now() - start) * 1e3,
           (double)bench_status_kib("VmHWM:") / KIB, (double)bench_status_kib("VmRSS:") / KIB);
}
