/*
 * How much one call gives back to the system.  A program that turns from some sizes to others, one
 * that allocates now and then, and one whose mappings are kept for a while: what is free goes, but
 * no call pays for more than a few portions of it, or for more than it takes itself.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "large.h"
#include "peak.h"
#include "pool_part.h"
#include "run.h"
#include "stats_now.h"
#include "thread.h"

enum {
    NODE_BYTES = 100,
    SELDOM_BYTES = 500,
    BUFFER_BYTES = 1 << 20,
    LIST_BYTES = 40000,
    TURN_BYTES = 64 << 20,
    PHASE_MS = 100, /* for TURN_BYTES */
    MAPPING_BYTES = 48 << 20,
    MAPPINGS = 3,
    BUSY_PORTIONS = 2 + 1, /* at a peak, and in a step */
    IDLE_PORTIONS = 4,     /* in a step, and no peak */
    PAYING_CALLS = 64,     /* pay all that can be owed */
    BUSY_BYTES = BUSY_PORTIONS * HK_PORTION_BYTES,
};

static void *blocks[TURN_BYTES / NODE_BYTES];
static uint64_t purged_before;
static uint64_t given; /* by all calls */
static unsigned givers;

/* Given back so far but for holes, which are no part of portions. */
static uint64_t portions_bytes(void)
{
    return hk_run_purged_bytes() + hk_large_purged_bytes() +
           hk_pool_parts[0].purged_units * HK_UNIT_BYTES;
}

static void begin_call(void)
{
    purged_before = portions_bytes();
}

/* The call took or freed so many bytes itself. */
static void end_call(const char *what, size_t size, unsigned portions)
{
    uint64_t bytes = portions_bytes() - purged_before;
    size_t most = size + portions * (size_t)HK_PORTION_BYTES;
    CHECKF(bytes <= most, " (%s of %zu bytes: %zu KiB of %zu)", what, size, (size_t)bytes / 1024,
           most / 1024);
    given += bytes;
    givers += bytes > 0;
}

static void *take(size_t size, unsigned portions)
{
    begin_call();
    char *block = hak_malloc(size);
    end_call("malloc", size, portions);
    CHECK(block != NULL);
    for (size_t at = 0; at < size; at += 4096)
        block[at] = 1;
    return block;
}

static void release(void *block, size_t size, unsigned portions)
{
    begin_call();
    hak_free(block);
    end_call("free", size, portions);
}

/* Time, after the call with this number of so many. */
static void pass(size_t number, size_t count)
{
    if (number % (count / PHASE_MS + 1) == 0)
        fake_os_advance(1);
}

static size_t take_all(size_t size)
{
    size_t count = TURN_BYTES / size;
    for (size_t i = 0; i < count; i++, pass(i, count))
        blocks[i] = take(size, BUSY_PORTIONS);
    return count;
}

static void release_all(size_t count)
{
    for (size_t i = 0; i < count; i++, pass(i, count))
        release(blocks[i], 0, BUSY_PORTIONS);
}

/* When as much has been taken anew the process is hardly larger: what was freed has gone, or serves
 * again.  At least so many bytes have gone, and soon nothing is owed. */
static void turn(size_t from, size_t to, size_t least)
{
    test_use_up_apart(hak_malloc, hak_free);
    release_all(take_all(from));
    given = givers = 0;
    uint64_t committed = stats_now().committed_bytes;
    (void)take_all(to);
    hak_stats_t after = stats_now();
    CHECK(after.purged_bytes == portions_bytes() + hk_thread_own->heap->holes_purged_bytes);
    CHECKF(after.committed_bytes <= committed + committed / 4, " (%zu to %zu: %zu KiB, %zu before)",
           from, to, (size_t)after.committed_bytes / 1024, (size_t)committed / 1024);
    CHECKF(given >= least, " (%zu to %zu: %zu KiB)", from, to, (size_t)given / 1024);
    for (int i = 0; i < PAYING_CALLS; i++)
        hk_cache_help(hk_thread_own, HK_TRAP_NONE);
    CHECK(!hk_peak_is_owing() && hak_check() == 0);
}

static void buffers_to_nodes(void)
{
    turn(BUFFER_BYTES, NODE_BYTES, 4 * BUSY_BYTES);
}

static void nodes_to_buffers(void)
{
    turn(NODE_BYTES, BUFFER_BYTES, 4 * BUSY_BYTES);
}

static void lists_to_nodes(void)
{
    turn(LIST_BYTES, NODE_BYTES, 0);
}

/* A block that is mapped makes way by as much as it takes. */
static void nodes_to_mapping(void)
{
    release_all(take_all(NODE_BYTES));
    given = givers = 0;
    void *mapping = take(MAPPING_BYTES, BUSY_PORTIONS);
    CHECKF(given >= MAPPING_BYTES / 4 * 3, " (%zu KiB)", (size_t)given / 1024);
    release(mapping, MAPPING_BYTES, BUSY_PORTIONS);
}

/* A program that has freed all it had, and then makes two calls each 100 ms, for a size that it did
 * not use before.  Both give. */
static void now_and_then(void)
{
    enum { EVERY_MS = 100, MS = 3000 };
    release_all(take_all(NODE_BYTES));
    given = givers = 0;
    for (int ms = 0; ms < MS; ms += EVERY_MS) {
        fake_os_advance(EVERY_MS);
        release(take(SELDOM_BYTES, IDLE_PORTIONS), 0, IDLE_PORTIONS);
    }
    CHECKF(given >= TURN_BYTES * 9ull / 10, " (%zu KiB)", (size_t)given / 1024);
    CHECK(givers > MS / EVERY_MS / 2);
}

/* Mappings that are kept for a while stay so long, and go in pieces; also where more is kept by
 * than would be, because what was in use beside them is not any more. */
static void keep_and_give(bool is_more)
{
    enum { STEP_MS = 10 };
    void *mappings[MAPPINGS];
    test_use_up_apart(hak_malloc, hak_free);
    void *held = hak_malloc(4ul * MAPPINGS * MAPPING_BYTES); /* so that no peak makes them go */
    CHECK(held != NULL);
    for (int i = 0; i < MAPPINGS; i++)
        mappings[i] = take(MAPPING_BYTES, BUSY_PORTIONS);
    for (int i = 0; i < MAPPINGS; i++)
        release(mappings[i], 0, BUSY_PORTIONS);
    given = givers = 0;
    for (int ms = STEP_MS; ms < HK_LARGE_KEEP_EPOCHS * HK_DECAY_MS; ms += STEP_MS) {
        fake_os_advance(STEP_MS);
        (void)take(LIST_BYTES, BUSY_PORTIONS);
    }
    CHECKF(given == 0, " (%zu KiB)", (size_t)given / 1024);
    if (is_more)
        hak_free(held);
    for (int i = 0; i < 4; i++)
        (void)take_all(LIST_BYTES);
    CHECKF(given >= MAPPINGS * (uint64_t)MAPPING_BYTES, " (%zu KiB)", (size_t)given / 1024);
    CHECK(hk_large_kept_bytes() == 0);
    CHECK(hk_limit_committed_bytes() - stats_now().committed_bytes < MAPPING_BYTES); /* the map */
    if (!is_more)
        hak_free(held);
}

static void kept_mappings(void)
{
    keep_and_give(false);
}

static void kept_beyond_policy(void)
{
    keep_and_give(true);
}

/* Each in a process of its own, which has had no peak before. */
int main(int argc, char **argv)
{
    const test_case_t cases[] = {
        {"buffers_to_nodes", buffers_to_nodes, 0},
        {"nodes_to_buffers", nodes_to_buffers, 0},
        {"lists_to_nodes", lists_to_nodes, 0},
        {"nodes_to_mapping", nodes_to_mapping, 0},
        {"now_and_then", now_and_then, 0},
        {"kept_mappings", kept_mappings, 0},
        {"kept_beyond_policy", kept_beyond_policy, 0},
    };
    return test_cases(argc, argv, cases, TEST_COUNT(cases), 60);
}
