/*
 * micro: small workloads that spend nearly all their time in malloc and free.
 *
 * usage: micro WORKLOAD [threads]      (micro alone lists the workloads)
 *
 * Each workload stands for one way programs use the heap; the table at the end says which.  The
 * allocator is whatever LD_PRELOAD puts in place of the C library's.  Reports on one line:
 *   ns_per_op=F      time a thread spends on one operation (elapsed time * threads / operations)
 *   ops_per_s=F      operations of all threads together per second of elapsed time
 *   peak_rss_kib=N   largest resident size of the process (VmHWM)
 * Exit status: 0; 2 usage; 3 the allocator gave no memory or damaged a block (said on stderr).
 *
 * The benchmark's own tables come from mmap or are static, so they never share the heap under
 * test.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 32, PAGE = 4096, KIB = 1024, MIB = 1024 * 1024 };

struct worker {
    unsigned id;      /* 0 .. threads-1 */
    unsigned threads; /* how many workers run this workload */
    uint32_t seed;
    uint64_t ops;
    double start, end;
    uint64_t (*run)(struct worker *);
};

/* ---- helpers ---- */

static void die(const char *what)
{
    fprintf(stderr, "micro: %s\n", what);
    _exit(3);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t next(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

/* Makes the compiler believe p escapes here, so it cannot drop a malloc/free pair. */
static inline void *keep(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static void *some(void *p)
{
    p = keep(p);
    if (!p)
        die("the allocator returned NULL");
    return p;
}

/* A block that holds its own address; put() sees whether somebody else wrote over it. */
static void *get(size_t size)
{
    void **p = some(malloc(size));
    *p = p;
    return p;
}

static void put(void *p)
{
    if (*(void **)p != p)
        die("a block was damaged");
    free(keep(p));
}

static void replace(void **slot, size_t size)
{
    if (*slot)
        put(*slot);
    *slot = get(size);
}

static void *table(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("mmap of a table failed");
    return p;
}

static void drain(void **slots, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(slots[i]);
        slots[i] = NULL;
    }
}

static size_t small_size(uint32_t r)
{
    return 16 + (r >> 8) % 497; /* 16 .. 512 */
}

static void touch(char *p, size_t from, size_t to)
{
    for (size_t i = from; i < to; i += PAGE)
        p[i] = 1;
}

/* ---- one thread, or threads that share nothing ---- */

static uint64_t mixed(struct worker *w, uint32_t slots_n)
{
    enum { CYCLES = 10000000 };
    char **slots = table(slots_n * sizeof *slots);
    for (uint32_t i = 0; i < CYCLES; i++) {
        uint32_t r = next(&w->seed);
        char **slot = &slots[r % slots_n];
        if (*slot) {
            free(keep(*slot));
            *slot = NULL;
        } else {
            *slot = some(malloc(16 + (r & 0x3FF)));
            **slot = (char)r;
        }
    }
    drain((void **)slots, slots_n);
    return CYCLES;
}

static uint64_t mixed256(struct worker *w)
{
    return mixed(w, 256);
}

static uint64_t mixed8192(struct worker *w)
{
    return mixed(w, 8192);
}

static uint64_t pair(struct worker *w)
{
    enum { PAIRS = 50000000 };
    for (uint32_t i = 0; i < PAIRS; i++) {
        char *p = some(malloc(32));
        *p = (char)w->id;
        free(keep(p));
    }
    return PAIRS;
}

static uint64_t pair_mix(struct worker *w)
{
    enum { PAIRS = 25000000 };
    for (uint32_t i = 0; i < PAIRS; i++) {
        char *p = some(malloc(16 + (next(&w->seed) & 0x3FF)));
        *p = (char)i;
        free(keep(p));
    }
    return PAIRS;
}

enum { BATCH = 100000, BATCH_ROUNDS = 40 };

/* Allocates a batch, then frees it in the order the table `order` gives. */
static uint64_t batch(struct worker *w, const uint32_t *order)
{
    void **blocks = table(BATCH * sizeof *blocks);
    for (int round = 0; round < BATCH_ROUNDS; round++) {
        for (uint32_t i = 0; i < BATCH; i++)
            blocks[i] = get(small_size(next(&w->seed)));
        for (uint32_t i = 0; i < BATCH; i++)
            put(blocks[order[i]]);
    }
    return (uint64_t)BATCH * BATCH_ROUNDS;
}

static uint64_t batch_fifo(struct worker *w)
{
    uint32_t *order = table(BATCH * sizeof *order);
    for (uint32_t i = 0; i < BATCH; i++)
        order[i] = i;
    return batch(w, order);
}

static uint64_t batch_lifo(struct worker *w)
{
    uint32_t *order = table(BATCH * sizeof *order);
    for (uint32_t i = 0; i < BATCH; i++)
        order[i] = BATCH - 1 - i;
    return batch(w, order);
}

static uint64_t batch_random(struct worker *w)
{
    uint32_t *order = table(BATCH * sizeof *order);
    for (uint32_t i = 0; i < BATCH; i++) { /* shuffle while filling */
        uint32_t j = next(&w->seed) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return batch(w, order);
}

static uint64_t replace_among(struct worker *w, uint32_t live, uint32_t rounds)
{
    void **slots = table(live * sizeof *slots);
    for (uint32_t i = 0; i < live; i++)
        replace(&slots[i], small_size(next(&w->seed)));
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t r = next(&w->seed);
        replace(&slots[r % live], small_size(next(&w->seed)));
    }
    drain(slots, live);
    return (uint64_t)live + rounds;
}

static uint64_t replace1k(struct worker *w)
{
    return replace_among(w, 1000, 10000000);
}

static uint64_t replace1m(struct worker *w)
{
    return replace_among(w, 1000000, 2000000);
}

/* ---- realloc, calloc, aligned, larger blocks ---- */

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
    char *p = some(realloc(v->data, size));
    if (v->size && (p[0] != 'a' || p[v->size - 1] != 'z'))
        die("realloc lost contents");
    touch(p, v->size, size);
    p[0] = 'a';
    p[size - 1] = 'z';
    v->data = p;
    v->size = size;
}

static uint64_t realloc_grow(struct worker *w)
{
    enum { VECTORS = 100, ROUNDS = 2 };
    struct vector many[VECTORS], one = {NULL, 0};
    uint64_t ops = 0;
    for (int round = 0; round < ROUNDS; round++) {
        memset(many, 0, sizeof many);
        for (unsigned full = 0; full < VECTORS;) {
            struct vector *v = &many[next(&w->seed) % VECTORS];
            if (v->size == MIB)
                continue;
            grow(v, MIB);
            full += v->size == MIB;
            ops++;
        }
        for (unsigned i = 0; i < VECTORS; i++)
            free(many[i].data);
    }
    for (; one.size < (size_t)437 * MIB; ops++)
        grow(&one, (size_t)437 * MIB);
    free(one.data);
    return ops;
}

/* A zeroed block; dirties it afterwards, whole when small, a byte a page otherwise. */
static void *get_zeroed(size_t size)
{
    char *p = some(calloc(1, size));
    for (size_t i = 0; i < size; i += size < PAGE ? 8 : PAGE)
        if (p[i])
            die("calloc returned a dirty block");
    if (p[size - 1])
        die("calloc returned a dirty block");
    if (size < PAGE)
        memset(p, 1, size);
    else
        touch(p, 0, size);
    return p;
}

static uint64_t calloc_among(struct worker *w, uint32_t live, uint32_t rounds, size_t low,
                             size_t high)
{
    void **slots = table(live * sizeof *slots);
    for (uint32_t i = 0; i < rounds; i++) {
        void **slot = &slots[next(&w->seed) % live];
        free(keep(*slot));
        *slot = get_zeroed(low + next(&w->seed) % (high - low + 1));
    }
    drain(slots, live);
    return rounds;
}

static uint64_t calloc_small(struct worker *w)
{
    return calloc_among(w, 1000, 6000000, 16, 512);
}

static uint64_t calloc_large(struct worker *w)
{
    return calloc_among(w, 16, 3000, 64 * KIB, MIB);
}

static uint64_t aligned(struct worker *w)
{
    enum { LIVE = 1000, ROUNDS = 5000000 };
    void **slots = table(LIVE * sizeof *slots);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t r = next(&w->seed);
        void **slot = &slots[r % LIVE];
        size_t align = (size_t)16 << (r >> 16) % 9; /* 16 .. 4096 */
        size_t size = (small_size(next(&w->seed)) + align - 1) & ~(align - 1);
        if (*slot)
            put(*slot);
        *slot = some(aligned_alloc(align, size));
        if ((uintptr_t)*slot & (align - 1))
            die("aligned_alloc returned a misaligned block");
        *(void **)*slot = *slot;
    }
    drain(slots, LIVE);
    return ROUNDS;
}

static uint64_t touched_among(struct worker *w, uint32_t live, uint32_t rounds, size_t low,
                              size_t high)
{
    void **slots = table(live * sizeof *slots);
    for (uint32_t i = 0; i < rounds; i++) {
        void **slot = &slots[next(&w->seed) % live];
        size_t size = low + next(&w->seed) % (high - low + 1);
        replace(slot, size);
        touch(*slot, PAGE, size);
    }
    drain(slots, live);
    return rounds;
}

static uint64_t medium(struct worker *w)
{
    return touched_among(w, 1000, 1500000, 4 * KIB, 64 * KIB);
}

static uint64_t large(struct worker *w)
{
    return touched_among(w, 50, 6000, 100 * KIB, 4 * MIB);
}

/* ---- blocks that pass between threads ---- */

enum { RING = 1024 };

static struct ring {
    _Alignas(64) atomic_uint head; /* written by the consumer */
    _Alignas(64) atomic_uint tail; /* written by the producer */
    void *block[RING];
} rings[MAX_THREADS / 2];

/* Even workers produce, odd ones consume what the worker before them made. */
static uint64_t prodcons(struct worker *w)
{
    enum { BLOCKS = 2000000 };
    struct ring *q = &rings[w->id / 2];
    bool producer = w->id % 2 == 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (producer) {
            while (i - atomic_load_explicit(&q->head, memory_order_acquire) == RING)
                sched_yield();
            q->block[i % RING] = get(small_size(next(&w->seed)));
            atomic_store_explicit(&q->tail, i + 1, memory_order_release);
        } else {
            while (atomic_load_explicit(&q->tail, memory_order_acquire) == i)
                sched_yield();
            put(q->block[i % RING]);
            atomic_store_explicit(&q->head, i + 1, memory_order_release);
        }
    }
    return producer ? BLOCKS : 0; /* one operation = one block made, passed on and freed */
}

enum { BOX = 64 };

/* boxes[from][to]: only worker `from` fills a slot, only worker `to` empties it. */
static _Atomic(void *) boxes[MAX_THREADS][MAX_THREADS][BOX];
static atomic_uint workers_done;

static void take(struct worker *w, unsigned from, unsigned slot)
{
    _Atomic(void *) *at = &boxes[from][w->id][slot];
    if (!atomic_load_explicit(at, memory_order_relaxed))
        return;
    put(atomic_exchange_explicit(at, NULL, memory_order_acquire));
}

static void take_all(struct worker *w)
{
    for (unsigned from = 0; from < w->threads; from++)
        for (unsigned slot = 0; slot < BOX; slot++)
            take(w, from, slot);
}

static void hand_over(struct worker *w, unsigned to, void *p)
{
    unsigned first = next(&w->seed) % BOX;
    for (;;) {
        for (unsigned i = 0; i < BOX; i++) {
            _Atomic(void *) *at = &boxes[w->id][to][(first + i) % BOX];
            if (!atomic_load_explicit(at, memory_order_relaxed)) {
                atomic_store_explicit(at, p, memory_order_release);
                return;
            }
        }
        take_all(w); /* every slot is full: the receiver is behind */
        sched_yield();
    }
}

/* Of the blocks each worker makes, `percent` in 100 are freed by another worker. */
static uint64_t alltoall(struct worker *w, unsigned percent)
{
    enum { LIVE = 1000, BLOCKS = 2000000 };
    void **own = table(LIVE * sizeof *own);
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint32_t r = next(&w->seed);
        unsigned other = (w->id + 1 + (r >> 20) % (w->threads - 1)) % w->threads;
        if (r % 100 < percent)
            hand_over(w, other, get(small_size(next(&w->seed))));
        else
            replace(&own[(r >> 8) % LIVE], small_size(next(&w->seed)));
        take(w, other, 2 * i % BOX);
        take(w, other, (2 * i + 1) % BOX);
    }
    drain(own, LIVE);
    atomic_fetch_add(&workers_done, 1);
    while (atomic_load(&workers_done) < w->threads) {
        take_all(w);
        sched_yield();
    }
    take_all(w);
    return BLOCKS;
}

static uint64_t alltoall50(struct worker *w)
{
    return alltoall(w, 50);
}

static uint64_t alltoall90(struct worker *w)
{
    return alltoall(w, 90);
}

/* ---- threads that come and go ---- */

enum { SESSION_LIVE = 1000, SESSION_OPS = 20000, SESSIONS = 400 };

struct session {
    void **slots; /* blocks of the sessions before; they outlive the threads that made them */
    uint32_t seed;
};

static void *session_main(void *arg)
{
    struct session *s = arg;
    for (unsigned i = 0; i < SESSION_OPS; i++) {
        uint32_t r = next(&s->seed);
        replace(&s->slots[r % SESSION_LIVE], small_size(next(&s->seed)));
    }
    return NULL;
}

static void run_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, arg) != 0)
        die("pthread_create failed");
    pthread_join(thread, NULL);
}

static uint64_t larson(struct worker *w)
{
    struct session s = {table(SESSION_LIVE * sizeof *s.slots), w->seed};
    for (unsigned i = 0; i < SESSIONS; i++)
        run_thread(session_main, &s);
    drain(s.slots, SESSION_LIVE);
    return (uint64_t)SESSIONS * SESSION_OPS;
}

static void *visitor_main(void *arg)
{
    enum { BLOCKS = 64 };
    void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = get(small_size(next(arg)));
    for (unsigned i = 0; i < BLOCKS; i++)
        put(blocks[i]);
    return NULL;
}

static uint64_t threadchurn(struct worker *w)
{
    enum { VISITORS = 10000 };
    for (unsigned i = 0; i < VISITORS; i++)
        run_thread(visitor_main, &w->seed);
    return VISITORS;
}

/* ---- table and driver ---- */

static const struct workload {
    const char *name;
    uint64_t (*run)(struct worker *);
    unsigned multiple_of; /* the thread count must be a multiple of this */
    unsigned at_least;
    const char *example;
} workloads[] = {
    {"mixed256", mixed256, 1, 1, "small working set, 16..1039 B at random; op = malloc or free"},
    {"mixed8192", mixed8192, 1, 1, "the same with more live blocks than a thread cache holds"},
    {"pair", pair, 1, 1, "a temporary of one size, 32 B; op = malloc + free"},
    {"pair_mix", pair_mix, 1, 1, "a temporary of changing size, 16..1039 B"},
    {"batch_fifo", batch_fifo, 1, 1, "a phase that builds and then drops in order, as a queue"},
    {"batch_lifo", batch_lifo, 1, 1, "a phase that builds and then drops in reverse, as a stack"},
    {"batch_random", batch_random, 1, 1, "a phase that builds and then drops in random order"},
    {"replace1k", replace1k, 1, 1, "a small cache with random eviction, 16..512 B"},
    {"replace1m", replace1m, 1, 1, "a large cache with random eviction: cold blocks, full pages"},
    {"realloc_grow", realloc_grow, 1, 1,
     "growing vectors, many to 1 MiB, one to 437 MiB; op ="
     " realloc"},
    {"calloc_small", calloc_small, 1, 1, "zeroed objects, 16..512 B among 1,000"},
    {"calloc_large", calloc_large, 1, 1, "zeroed buffers, 64 KiB..1 MiB among 16"},
    {"aligned", aligned, 1, 1, "aligned_alloc on 16..4096 among 1,000"},
    {"medium", medium, 1, 1, "I/O buffers, 4..64 KiB among 1,000, a byte a page written"},
    {"large", large, 1, 1, "images and matrices, 100 KiB..4 MiB among 50, a byte a page written"},
    {"prodcons", prodcons, 2, 2, "pipeline: one thread of a pair allocates, the other frees"},
    {"alltoall50", alltoall50, 1, 2, "work sharing: half of the blocks freed by another thread"},
    {"alltoall90", alltoall90, 1, 2, "message passing: 90 % of the blocks freed by another thread"},
    {"larson", larson, 1, 1, "server: threads end and are replaced, their blocks live on"},
    {"threadchurn", threadchurn, 1, 1, "short threads with few blocks each; op = one thread"},
};

enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

static pthread_barrier_t gate;

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    if (w->threads > 1)
        pthread_barrier_wait(&gate);
    w->start = now();
    w->ops = w->run(w);
    w->end = now();
    return NULL;
}

/* One worker runs on the main thread, as in a program that never starts a second one. */
static void run_workers(struct worker *w, unsigned n)
{
    pthread_t thread[MAX_THREADS];
    if (n == 1) {
        worker_main(w);
        return;
    }
    pthread_barrier_init(&gate, NULL, n);
    for (unsigned i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, worker_main, &w[i]) != 0)
            die("pthread_create failed");
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
}

static long peak_rss_kib(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    const char *at = strstr(text, "VmHWM:");
    return at ? atol(at + strlen("VmHWM:")) : -1;
}

static int usage(void)
{
    fprintf(stderr, "usage: micro WORKLOAD [threads, 1 to %d]\n", MAX_THREADS);
    for (int i = 0; i < WORKLOADS; i++)
        fprintf(stderr, "  %-13s %s\n", workloads[i].name, workloads[i].example);
    return 2;
}

int main(int argc, char **argv)
{
    static struct worker workers[MAX_THREADS];
    const struct workload *load = NULL;
    for (int i = 0; argc > 1 && i < WORKLOADS; i++)
        if (strcmp(argv[1], workloads[i].name) == 0)
            load = &workloads[i];
    if (!load || argc > 3)
        return usage();
    long n = argc > 2 ? atol(argv[2]) : (long)load->at_least;
    if (n < load->at_least || n > MAX_THREADS || n % load->multiple_of != 0)
        return usage();
    for (long i = 0; i < n; i++)
        workers[i] = (struct worker){.id = (unsigned)i,
                                     .threads = (unsigned)n,
                                     .seed = 1234567 + 7919 * (uint32_t)i,
                                     .run = load->run};
    run_workers(workers, (unsigned)n);
    double start = workers[0].start, end = workers[0].end;
    uint64_t ops = 0;
    for (long i = 0; i < n; i++) {
        start = workers[i].start < start ? workers[i].start : start;
        end = workers[i].end > end ? workers[i].end : end;
        ops += workers[i].ops;
    }
    printf("ns_per_op=%.2f ops_per_s=%.0f peak_rss_kib=%ld\n",
           (end - start) * 1e9 * (double)n / (double)ops, (double)ops / (end - start),
           peak_rss_kib());
    return 0;
}
