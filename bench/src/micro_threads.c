/*
 * micro_threads: threads that come and go, and threads whose blocks share cache lines.
 */
#include "micro.h"

#include <pthread.h>

static void run_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, arg) != 0)
        bench_die("pthread_create failed");
    pthread_join(thread, NULL);
}

/* ---- the Larson server ---- */

enum { SESSION_LIVE = 1000, SESSION_OPS = 20000, SESSIONS = 300 };

struct session {
    void **slots; /* blocks of the sessions before; they outlive the threads that made them */
    uint32_t seed;
};

static void *session_main(void *arg)
{
    struct session *s = arg;
    for (unsigned i = 0; i < SESSION_OPS; i++) {
        uint32_t r = bench_next(&s->seed);
        replace(&s->slots[r % SESSION_LIVE], small_size(bench_next(&s->seed)));
    }
    return NULL;
}

/* A server: threads end and are replaced, and the next thread frees what the one before made. */
static uint64_t larson(struct worker *w)
{
    uint64_t sessions = micro_scaled(SESSIONS);
    struct session s = {slot_table(SESSION_LIVE), w->seed};
    for (uint64_t i = 0; i < sessions; i++)
        run_thread(session_main, &s);
    drain(s.slots, SESSION_LIVE);
    return sessions * SESSION_OPS;
}

/* ---- thread churn ---- */

static void *visitor_main(void *arg)
{
    enum { BLOCKS = 64 };
    void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = get(small_size(bench_next(arg)));
    for (unsigned i = 0; i < BLOCKS; i++)
        put(blocks[i]);
    return NULL;
}

/* A thread for each request, with few blocks: what a thread's start and end cost the allocator. */
static uint64_t threadchurn(struct worker *w)
{
    uint64_t visitors = micro_scaled(8000);
    for (uint64_t i = 0; i < visitors; i++)
        run_thread(visitor_main, &w->seed);
    return visitors;
}

/* ---- false sharing ---- */

enum { WRITES = 300, SHARED_SIZE = 8 };

static void write_often(volatile char *p)
{
    for (int i = 0; i < WRITES; i++)
        p[i % SHARED_SIZE]++;
}

/* Active: two threads allocate at the same time, and an allocator may give them one line's
 * halves. */
static uint64_t false_active(struct worker *w)
{
    uint64_t rounds = micro_scaled(300000);
    for (uint64_t i = 0; i < rounds; i++) {
        char *p = bench_some(malloc(SHARED_SIZE));
        *p = (char)w->id;
        write_often(p);
        free(bench_keep(p));
    }
    return rounds;
}

static void *handed[MAX_THREADS];

/*
 * Passive: one thread makes neighbouring blocks and hands them out; each receiver frees its own,
 * and an allocator that gives it back to that same thread keeps the line shared for ever.
 */
static uint64_t false_passive(struct worker *w)
{
    if (w->id == 0)
        for (unsigned i = 0; i < w->threads; i++)
            handed[i] = bench_some(malloc(SHARED_SIZE));
    micro_meet();
    write_often(handed[w->id]);
    free(bench_keep(handed[w->id]));
    return false_active(w);
}

const struct workload micro_threads[] = {
    {"larson", larson, 1, 1, "server: threads end and are replaced, their blocks live on", 0, 0, 0},
    {"threadchurn", threadchurn, 1, 1, "short threads with few blocks each; op = one thread", 0, 0,
     0},
    {"false_active", false_active, 1, 2,
     "threads write blocks made at the same time; op = 300 writes", 0, 0, 0},
    {"false_passive", false_passive, 1, 2,
     "threads write blocks that one thread made and handed out", 0, 0, 0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
