/*
 * The housekeeper thread started and stopped while the program runs.
 */
#include "housekeepers.h"

#include <hakmem/hakmem.h>

static void work(void)
{
    void *blocks[1000];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        blocks[i] = hak_malloc(i * 50);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], i * 50, i);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        CHECK_PATTERN(blocks[i], i * 50, i * 50, i);
        hak_free(blocks[i]);
    }
}

/* Half of each slab is in use, and nobody calls: a round through all of them is done in one go. */
static void finds_holes(void)
{
    enum { BLOCKS = 6000, SIZE = 8192, WAIT_S = 15 };
    static char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = memset(hak_malloc(SIZE), 1, SIZE)) != NULL);
    for (size_t i = 0; i < BLOCKS; i += 2)
        hak_free(blocks[i]);
    struct timespec second = {.tv_sec = 1};
    hak_stats_t stats;
    int waited = 0;
    do {
        CHECKF(waited++ < WAIT_S, " (%zu)", (size_t)stats.hole_bytes);
        CHECK(nanosleep(&second, NULL) == 0 && hak_stats_get(&stats, sizeof stats) == 0);
    } while (stats.hole_bytes < (size_t)BLOCKS / 2 * SIZE / 4 * 3);
    for (size_t i = 1; i < BLOCKS; i += 2)
        hak_free(blocks[i]);
}

int main(void)
{
    hak_housekeeper_stop();
    work();
    CHECK(count_housekeepers() == 0);
    for (int round = 0; round < 20; round++) {
        errno = 1234;
        CHECK(hak_housekeeper_start() == 0 && hak_housekeeper_start() == 0 && errno == 1234);
        work();
        hak_housekeeper_stop();
        hak_housekeeper_stop();
    }
    await_housekeepers(0);
    CHECK(hak_housekeeper_start() == 0);
    await_housekeepers(1);
    size_t committed = hak_limit_committed();
    hak_free(memset(hak_malloc(30 << 20), 1, 30 << 20));
    struct timespec second = {.tv_sec = 1};
    for (int i = 0; i < 15 && hak_limit_committed() > committed + MIB; i++)
        (void)nanosleep(&second, NULL);
    CHECK(hak_limit_committed() <= committed + MIB);
    finds_holes();
    CHECK(hak_check() == 0);
    return 0;
}
