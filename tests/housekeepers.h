/*
 * How many housekeeper threads this process has.
 */
#ifndef HAKMEM_HOUSEKEEPERS_H
#define HAKMEM_HOUSEKEEPERS_H

#include "test.h"

#include <dirent.h>
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

/* It has its name, and ends by itself, a moment after it is told to. */
static void await_housekeepers(int expected)
{
    struct timespec moment = {.tv_nsec = 10000000};
    for (int i = 0; i < 1000 && count_housekeepers() != expected; i++)
        (void)nanosleep(&moment, NULL);
    CHECKF(count_housekeepers() == expected, " (%d)", count_housekeepers());
}

#endif
