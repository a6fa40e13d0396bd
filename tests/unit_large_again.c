/*
 * Scratch memory above what is kept of freed mappings in general: a program that frees it and takes
 * as much at once faults it in once more, and then no more; and what is kept for it goes as any
 * other kept mapping does.
 */
#include "fake_os.h"

#include "test.h"

#include <hakmem/hakmem.h>

enum { TURNS = 50, EPOCH_MS = 250 };

static const size_t scratch = 200 * MIB;

static void turn(size_t size)
{
    void *block = hak_malloc(size);
    CHECK(block != NULL);
    hak_free(block);
}

static size_t kept(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats.large_cached_bytes;
}

static void at_once(void)
{
    turn(scratch);
    CHECK(kept() == 0); /* nobody knows of the next turn yet */
    turn(scratch);
    CHECK(kept() >= scratch);
    uint64_t maps = fake_os.maps;
    for (int i = 0; i < TURNS; i++) {
        fake_os_advance(10);
        turn(scratch - (size_t)(i % 4) * 10 * MIB);
    }
    CHECKF(fake_os.maps == maps, " (%zu)", (size_t)(fake_os.maps - maps));
}

/* The thread comes by with other work; nobody wants the mapping. */
static void goes(void)
{
    for (int i = 0; kept() > 0; i++) {
        CHECKF(i < 5000, " (%zu are kept)", kept());
        fake_os_advance(8);
        turn(100000);
    }
}

static void not_at_once(void)
{
    for (int i = 0; i < 4; i++) {
        turn(scratch);
        CHECKF(kept() == 0, " (%zu, turn %d)", kept(), i);
        fake_os_advance(2 * EPOCH_MS);
    }
}

/* Another size is no reason to keep this one. */
static void not_alike(void)
{
    for (int i = 0; i < 4; i++) {
        turn(scratch);
        turn(2 * scratch);
        CHECKF(kept() == 0, " (%zu, turn %d)", kept(), i);
    }
}

/* Nobody may come by for long afterwards. */
static void too_large(void)
{
    for (int i = 0; i < 4; i++) {
        turn(1100 * MIB);
        CHECKF(kept() == 0, " (%zu, turn %d)", kept(), i);
    }
}

/* Near a hard limit each allocation would have to reclaim it. */
static void not_limited(void)
{
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 600 * MIB) == 0);
    for (int i = 0; i < 4; i++) {
        turn(scratch);
        CHECKF(kept() == 0, " (%zu, turn %d)", kept(), i);
    }
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
}

/* Two at the same time. */
static void both(void)
{
    void *blocks[2];
    uint64_t maps = 0;
    for (int i = 0; i < TURNS; i++) {
        maps = i == 5 ? fake_os.maps : maps;
        for (size_t n = 0; n < 2; n++)
            CHECK((blocks[n] = hak_malloc((n + 2) * 100 * MIB)) != NULL);
        for (size_t n = 0; n < 2; n++)
            hak_free(blocks[n]);
    }
    CHECKF(fake_os.maps == maps, " (%zu)", (size_t)(fake_os.maps - maps));
}

int main(void)
{
    not_at_once();
    not_alike();
    too_large();
    not_limited();
    fake_os_advance(2 * EPOCH_MS);
    at_once();
    goes();
    not_at_once();
    both();
    (void)hak_trim(0);
    CHECK(kept() == 0 && hak_check() == 0);
    return 0;
}
