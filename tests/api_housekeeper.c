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
    CHECK(hak_check() == 0);
    return 0;
}
