/*
 * The housekeeper thread started and stopped while the program runs.
 */
#include "test.h"

#include <dirent.h>
#include <hakmem/hakmem.h>
#include <time.h>

/* By their name: a sanitizer has threads of its own. */
static int count_housekeepers(void)
{
    char path[300], name[16];
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        count += read(fd, name, sizeof name) == 7 && memcmp(name, "hakmem\n", 7) == 0;
        close(fd);
    }
    closedir(tasks);
    return count;
}

/* It ends by itself, a moment after it is told to. */
static void await_housekeepers(int expected)
{
    struct timespec moment = {.tv_nsec = 10000000};
    for (int i = 0; i < 1000 && count_housekeepers() != expected; i++)
        (void)nanosleep(&moment, NULL);
    CHECKF(count_housekeepers() == expected, " (%d)", count_housekeepers());
}

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
