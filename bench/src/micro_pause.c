/*
 * micro_pause: how long single calls of malloc and free take.  Each is timed by itself; what the
 * program does with its blocks is not.
 */
#include "micro.h"

enum { PAUSE_MIB = 64, TURNS = 2, TENTHS_MAX = 10000 }; /* of a microsecond, up to a millisecond */

static uint32_t calls_by_tenths[TENTHS_MAX + 1];
static double worst_us;

static void note_call(double start)
{
    double us = (bench_now() - start) * 1e6;
    calls_by_tenths[us * 10 < TENTHS_MAX ? (unsigned)(us * 10) : TENTHS_MAX]++;
    worst_us = us > worst_us ? us : worst_us;
}

/* How long all but one in so many calls take at most, in us. */
static double all_but(uint64_t calls, uint64_t one_in)
{
    uint64_t above = calls / one_in;
    unsigned tenths = TENTHS_MAX;
    for (uint64_t seen = calls_by_tenths[tenths]; seen <= above && tenths > 0;)
        seen += calls_by_tenths[--tenths];
    return (tenths + 1) / 10.0;
}

static uint64_t pause_turn(void **slot, size_t size)
{
    uint64_t count = micro_scaled(PAUSE_MIB * MIB) / size;
    for (uint64_t i = 0; i < count; i++) {
        double start = bench_now();
        slot[i] = bench_some(malloc(size));
        note_call(start);
        bench_touch(slot[i], 0, size);
    }
    for (uint64_t i = 0; i < count; i++) {
        double start = bench_now();
        free(bench_keep(slot[i]));
        note_call(start);
    }
    return 2 * count;
}

/*
 * A service whose requests want now these sizes, now those: 64 MiB of each, all freed before the
 * next.  One operation = one call, the clock included.  worst_us is the longest; all but one in
 * 100,000 calls take no longer than late_us.
 */
static uint64_t pause_workload(struct worker *w)
{
    static const size_t sizes[] = {100, MIB, 2000, 300 * KIB, 48, 40 * KIB};
    uint64_t most = micro_scaled(PAUSE_MIB * MIB) / 48, calls = 0;
    void **slot = slot_table(most);
    for (int turn = 0; turn < TURNS; turn++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
            calls += pause_turn(slot, sizes[i]);
    if (w->id == 0) {
        micro_note("worst_us", worst_us);
        micro_note("late_us", all_but(calls, 100000));
    }
    bench_table_drop(slot, most * sizeof *slot);
    return calls;
}

const struct workload micro_pause[] = {
    {"pause", pause_workload, 1, 1, "requests of other sizes by turns, each call timed; op = call",
     0, 0, 0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
