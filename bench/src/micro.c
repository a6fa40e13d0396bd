/*
 * micro: runs one workload in some threads, under the allocator that LD_PRELOAD has put in place.
 *
 * usage: micro WORKLOAD [threads [scale]]      (micro alone lists the workloads)
 *
 * scale, 1 unless given, shortens or lengthens the run.  Reports on one line:
 *   ns_per_op=F      time a thread spends on one operation (elapsed time * threads / operations)
 *   cpu_ns_per_op=F  the process's CPU time for one operation, which others here hardly touch
 *   ops_per_s=F      operations of all threads together per second of elapsed time
 *   peak_rss_kib=N   largest resident size of the process (VmHWM), less the workload's own tables
 *   after_rss_kib=N  resident size at the end, the blocks freed and the threads ended
 * and what the workload itself adds.
 * Exit status: 0; 2 usage; 3 the allocator gave no memory or damaged a block (said on stderr).
 */
#include "micro.h"

#include <pthread.h>
#include <stdatomic.h>

static const struct workload *const themes[] = {micro_local,   micro_sizes,   micro_trace,
                                                micro_graph,   micro_pass,    micro_threads,
                                                micro_longrun, micro_service, micro_pause};
enum { THEMES = sizeof themes / sizeof themes[0], NOTES = 8 };

static double scale = 1;
static pthread_barrier_t gate;
static atomic_size_t own_bytes;
static struct note {
    const char *name;
    double value;
} notes[NOTES];

uint64_t micro_scaled(uint64_t n)
{
    double scaled = (double)n * scale;
    return scaled < 1 ? 1 : (uint64_t)scaled;
}

void micro_note(const char *name, double value)
{
    for (int i = 0; i < NOTES; i++)
        if (!notes[i].name) {
            notes[i] = (struct note){name, value};
            return;
        }
}

void micro_note_live(const struct worker *w, size_t live_bytes)
{
    if (w->id == 0) {
        micro_note("live_mib", (double)live_bytes / MIB);
        micro_note("resident_mib", (double)bench_status_kib("VmRSS:") / KIB);
    }
}

void micro_own(size_t bytes)
{
    atomic_fetch_add(&own_bytes, bytes);
}

void micro_meet(void)
{
    pthread_barrier_wait(&gate);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    micro_meet();
    w->start = bench_now();
    w->ops = w->load->run(w);
    w->end = bench_now();
    return NULL;
}

static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One worker runs on the main thread, as in a program that never starts a second one. */
static void run_workers(struct worker *w, unsigned n)
{
    pthread_t thread[MAX_THREADS];
    pthread_barrier_init(&gate, NULL, n);
    if (n == 1) {
        worker_main(w);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, worker_main, &w[i]) != 0)
            bench_die("pthread_create failed");
    for (unsigned i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
}

static void report(const struct worker *w, unsigned n, double cpu)
{
    double start = w[0].start, end = w[0].end;
    uint64_t ops = 0;
    for (unsigned i = 0; i < n; i++) {
        start = w[i].start < start ? w[i].start : start;
        end = w[i].end > end ? w[i].end : end;
        ops += w[i].ops;
    }
    printf("ns_per_op=%.3f cpu_ns_per_op=%.3f ops_per_s=%.0f peak_rss_kib=%ld after_rss_kib=%ld",
           (end - start) * 1e9 * n / (double)ops, cpu * 1e9 / (double)ops,
           (double)ops / (end - start), bench_status_kib("VmHWM:") - (long)(own_bytes / KIB),
           bench_status_kib("VmRSS:"));
    for (int i = 0; i < NOTES && notes[i].name; i++)
        printf(" %s=%.3f", notes[i].name, notes[i].value);
    printf("\n");
}

static const struct workload *find(const char *name)
{
    for (int t = 0; t < THEMES; t++)
        for (const struct workload *load = themes[t]; load->name; load++)
            if (strcmp(load->name, name) == 0)
                return load;
    return NULL;
}

static int usage(void)
{
    fprintf(stderr, "usage: micro WORKLOAD [threads, 1 to %d [scale]]\n", MAX_THREADS);
    for (int t = 0; t < THEMES; t++)
        for (const struct workload *load = themes[t]; load->name; load++)
            fprintf(stderr, "  %-18s %s\n", load->name, load->example);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static struct worker workers[MAX_THREADS];
    const struct workload *load = argc > 1 && argc <= 4 ? find(argv[1]) : NULL;
    if (!load)
        return usage();
    unsigned n = argc > 2 ? (unsigned)atol(argv[2]) : load->at_least;
    scale = argc > 3 ? atof(argv[3]) : 1;
    if (n < load->at_least || n > MAX_THREADS || n % load->multiple_of != 0 || scale <= 0)
        return usage();
    for (unsigned i = 0; i < n; i++)
        workers[i] =
            (struct worker){.id = i, .threads = n, .seed = 1234567 + 7919 * i, .load = load};
    double cpu = cpu_now();
    run_workers(workers, n);
    report(workers, n, cpu_now() - cpu);
    return 0;
}
