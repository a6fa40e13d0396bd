/*
 * micro_service: what caches and web servers do to a heap over days, in seconds.  Memory is the
 * result here as in micro_longrun, time only beside it.
 */
#include "micro.h"

/* ---- a cache that evicts at random ---- */

enum {
    BUDGET_MIB = 64,
    SHIFTS = 20,
    PARTS = 20, /* of a shift, with a pause of 10 ms after each */
    ENTRIES_MAX = 1 << 18,
    KEY_LOW = 16,
    KEY_HIGH = 80,
};

struct entry {
    void *self; /* what put() looks at */
    void *key, *value;
    size_t bytes; /* of all three blocks */
};

struct store {
    struct entry **entry;
    uint32_t used; /* entries 0 .. used-1 */
    size_t live_bytes;
    uint32_t seed;
};

/* Values of 64 bytes to 64 KiB.  Three of four are of the kind that is stored now, and the kind is
 * another after each shift. */
static size_t value_size(uint32_t *seed, unsigned shift)
{
    uint32_t r = bench_next(seed);
    unsigned kind = r % 4 ? shift * 4 : r >> 2;
    size_t centre = (size_t)64 << kind % 9;
    return centre + (r >> 8) % (3 * centre);
}

static void store_add(struct store *s, unsigned shift)
{
    size_t key_bytes = size_between(bench_next(&s->seed), KEY_LOW, KEY_HIGH);
    size_t value_bytes = value_size(&s->seed, shift);
    struct entry *entry = get(sizeof *entry);
    entry->key = get(key_bytes);
    entry->value = get(value_bytes);
    bench_touch(entry->value, PAGE, value_bytes);
    entry->bytes = sizeof *entry + key_bytes + value_bytes;
    s->entry[s->used++] = entry;
    s->live_bytes += entry->bytes;
}

static void store_evict(struct store *s, uint32_t at)
{
    struct entry *entry = s->entry[at];
    s->live_bytes -= entry->bytes;
    put(entry->value);
    put(entry->key);
    put(entry);
    s->entry[at] = s->entry[--s->used];
}

/* Puts so much in, and evicts what is over the budget; returns how many entries came in. */
static uint64_t store_turn_over(struct store *s, unsigned shift, size_t bytes)
{
    uint64_t added = 0;
    for (size_t stored = 0; stored < bytes; added++) {
        store_add(s, shift);
        stored += s->entry[s->used - 1]->bytes;
        while (s->live_bytes > (size_t)BUDGET_MIB * MIB || s->used == ENTRIES_MAX)
            store_evict(s, bench_next(&s->seed) % s->used);
    }
    return added;
}

/*
 * A cache of objects over weeks, with a budget: whatever comes in is paid for by entries that are
 * picked at random, and what is stored shifts from small values to large ones and back.  It is busy
 * an eighth of the time.  One operation = one entry (three blocks) put in.  live_mib and
 * resident_mib at the end.
 */
static uint64_t evict(struct worker *w)
{
    size_t table_bytes = ENTRIES_MAX * sizeof(struct entry *);
    struct store s = {bench_table(table_bytes), 0, 0, w->seed};
    uint64_t ops = 0, shifts = micro_scaled(SHIFTS);
    for (unsigned shift = 0; shift < shifts; shift++) {
        for (unsigned part = 0; part < PARTS; part++) {
            ops += store_turn_over(&s, shift, (size_t)BUDGET_MIB * MIB / PARTS);
            bench_sleep(0.01);
        }
    }
    micro_note_live(w, s.live_bytes);
    while (s.used)
        store_evict(&s, s.used - 1);
    bench_table_drop(s.entry, table_bytes);
    return ops;
}

/* ---- the bursts of a web server ---- */

enum {
    BURSTS = 8,
    CONNECTIONS = 900, /* at once, of each worker */
    POOL_BLOCKS = 32,  /* of a request: headers, names, values */
    SESSION_ONE_IN = 20,
    SESSIONS = 2 * CONNECTIONS / SESSION_ONE_IN, /* those of the last two bursts */
    CALM_TICKS = 40,
    CALM_OPS = 50,
};

struct connection {
    void *self; /* what put() looks at */
    void *input, *output;
    void *pool[POOL_BLOCKS];
};

static struct connection *connect_one(uint32_t *seed)
{
    struct connection *c = get(sizeof *c);
    size_t input_bytes = size_between(bench_next(seed), 4 * KIB, 16 * KIB);
    size_t output_bytes = size_between(bench_next(seed), 4 * KIB, 64 * KIB);
    c->input = get(input_bytes);
    bench_touch(c->input, PAGE, input_bytes);
    for (unsigned i = 0; i < POOL_BLOCKS; i++)
        c->pool[i] = get(small_size(bench_next(seed)));
    c->output = get(output_bytes);
    bench_touch(c->output, PAGE, output_bytes);
    return c;
}

static void close_one(struct connection *c)
{
    for (unsigned i = 0; i < POOL_BLOCKS; i++)
        put(c->pool[i]);
    put(c->output);
    put(c->input);
    put(c);
}

/* All connections at once, closed in another order; one in 20 leaves a session behind. */
static void burst(struct connection **connection, void **session, unsigned *newest, uint32_t *seed)
{
    for (unsigned i = 0; i < CONNECTIONS; i++)
        connection[i] = connect_one(seed);
    for (unsigned left = CONNECTIONS; left > 0; left--) {
        unsigned at = bench_next(seed) % left;
        if (left % SESSION_ONE_IN == 0)
            replace(&session[(*newest)++ % SESSIONS], small_size(bench_next(seed)));
        close_one(connection[at]);
        connection[at] = connection[left - 1];
    }
}

/*
 * A web server: 900 connections for each worker at once, some 95 MiB with two, then 0.4 s with a
 * request now and then, and so on.  One operation = one connection, the pauses counted.  burst_mib:
 * the peak; calm_mib: what is resident at the end of a pause, the mean of all.
 */
static uint64_t bursts(struct worker *w)
{
    struct connection *connection[CONNECTIONS];
    void *session[SESSIONS] = {NULL}, *request[CALM_OPS] = {NULL};
    unsigned newest = 0;
    uint64_t times = micro_scaled(BURSTS);
    double calm_kib = 0;
    for (uint64_t i = 0; i < times; i++) {
        burst(connection, session, &newest, &w->seed);
        for (unsigned tick = 0; tick < CALM_TICKS; tick++) {
            bench_sleep(0.01);
            for (unsigned n = 0; n < CALM_OPS; n++)
                replace(&request[n], small_size(bench_next(&w->seed)));
        }
        micro_meet();
        if (w->id == 0)
            calm_kib += (double)bench_status_kib("VmRSS:");
        micro_meet(); /* the next burst */
    }
    if (w->id == 0) {
        micro_note("burst_mib", (double)bench_status_kib("VmHWM:") / KIB);
        micro_note("calm_mib", calm_kib / (double)times / KIB);
    }
    for (unsigned i = 0; i < SESSIONS; i++)
        free(session[i]);
    for (unsigned i = 0; i < CALM_OPS; i++)
        put(request[i]);
    return times * CONNECTIONS;
}

const struct workload micro_service[] = {
    {"evict", evict, 1, 1,
     "weeks of a cache of 64 MiB that evicts at random, sizes shift; op = entry of three blocks", 0,
     0, 0},
    {"bursts", bursts, 1, 1, "a web server: bursts of connections, and calm; op = connection", 0, 0,
     0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
