/*
 * How much a place gives at a peak: gifts that the place takes back halve down to the least, others
 * double up to the most, and a place that has grown itself gives the most.
 */
#include "test.h"

#include "pace.h"

enum { MOST = 8 * MIB, LEVEL = 100 * MIB };

/* A gift in two portions. */
static void begin_gift(hk_pace_t *pace, size_t bytes)
{
    hk_pace_begin(pace, LEVEL);
    hk_pace_note(pace, bytes / 4);
    hk_pace_note(pace, bytes - bytes / 4);
}

/* Gives what it may and finds the place as large as before, or without what it gave; returns what
 * it may give then. */
static size_t give(hk_pace_t *pace, size_t given, bool in_vain)
{
    bool grown;
    begin_gift(pace, given);
    size_t next = hk_pace_look(pace, in_vain ? LEVEL : LEVEL - given, &grown);
    CHECK(!grown);
    return next;
}

static void in_vain_and_not(void)
{
    bool grown;
    hk_pace_t pace = {.most = MOST};
    CHECK(hk_pace_look(&pace, LEVEL, &grown) == MOST && grown); /* the first that is seen of it */
    CHECK(hk_pace_look(&pace, LEVEL, &grown) == MOST && !grown);
    size_t step = MOST;
    for (; step > HK_PACE_BYTES_MIN; step /= 2)
        CHECK(give(&pace, step, true) == step / 2);
    CHECK(give(&pace, step, true) == HK_PACE_BYTES_MIN);
    CHECK(hk_pace_look(&pace, LEVEL, &grown) == HK_PACE_BYTES_MIN); /* a gift is judged once */
    for (; step < MOST; step *= 2)
        CHECK(give(&pace, step, false) == 2 * step);
    CHECK(give(&pace, MOST, false) == MOST);
}

/* More than half of a gift has to come back. */
static void half_in_vain(void)
{
    bool grown;
    hk_pace_t pace = {.most = MOST};
    (void)hk_pace_look(&pace, LEVEL, &grown);
    CHECK(give(&pace, MOST, true) == MOST / 2 && give(&pace, MOST / 2, true) == MOST / 4);
    begin_gift(&pace, MOST);
    CHECK(hk_pace_look(&pace, LEVEL - MOST / 2, &grown) == MOST / 2);
    begin_gift(&pace, MOST);
    CHECK(hk_pace_look(&pace, LEVEL - MOST / 2 + 1, &grown) == MOST / 4);
}

/* A peak of long ago does not count for ever. */
static void stale_peak(void)
{
    bool grown;
    hk_pace_t pace = {.most = MOST};
    (void)hk_pace_look(&pace, 2 * LEVEL, &grown);
    (void)hk_pace_look(&pace, 2 * LEVEL - MOST, &grown); /* as after a gift */
    (void)hk_pace_look(&pace, 2 * LEVEL, &grown);
    CHECK(!grown);
    for (int i = 0; i < 10; i++)
        (void)hk_pace_look(&pace, LEVEL, &grown);
    CHECK(!grown);
    (void)hk_pace_look(&pace, LEVEL + MOST + HK_PEAK_STEP_BYTES, &grown);
    CHECK(grown);
}

static void grown_itself(void)
{
    bool grown;
    hk_pace_t pace = {.most = MOST};
    (void)hk_pace_look(&pace, LEVEL, &grown);
    CHECK(give(&pace, MOST, true) == MOST / 2);
    CHECK(hk_pace_look(&pace, LEVEL + HK_PEAK_STEP_BYTES / 2, &grown) == MOST / 2 && !grown);
    CHECK(hk_pace_look(&pace, LEVEL + HK_PEAK_STEP_BYTES, &grown) == MOST && grown);
    CHECK(hk_pace_look(&pace, LEVEL + HK_PEAK_STEP_BYTES, &grown) == MOST / 2 && !grown);
}

int main(void)
{
    in_vain_and_not();
    half_in_vain();
    grown_itself();
    stale_peak();
    return 0;
}
