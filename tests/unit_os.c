/*
 * The real os: moving a mapping where limits do not allow it; and how many processors there are,
 * where threads are bound to some.
 */
#define _GNU_SOURCE
#include "test.h"

#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>

#include "os.h"

enum { OLD_BYTES = 64 << 20, NEW_BYTES = 80 << 20, ROOM = 8 << 20 };

static size_t mapped_bytes(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL && fscanf(file, "%zu", &pages) == 1 && fclose(file) == 0);
    return pages * hk_os_page_bytes();
}

/* It stays, and no address space is lost. */
static void moves_or_stays(void)
{
    char *old = hk_os_map(OLD_BYTES, hk_os_page_bytes());
    char *target = hk_os_reserve(NEW_BYTES, hk_os_page_bytes());
    CHECK(old != NULL && target != NULL);
    old[0] = old[OLD_BYTES - 1] = 7;
    size_t before = mapped_bytes();
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    struct rlimit tight = {before + ROOM, limit.rlim_max};
    CHECK(setrlimit(RLIMIT_AS, &tight) == 0);
    CHECK(!hk_os_move_to(old, OLD_BYTES, target, NEW_BYTES));
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    CHECK(old[0] == 7 && old[OLD_BYTES - 1] == 7);
    CHECKF(mapped_bytes() <= before - NEW_BYTES + ROOM, " (%zu, was %zu)", mapped_bytes(), before);

    target = hk_os_reserve(NEW_BYTES, hk_os_page_bytes());
    CHECK(target != NULL && hk_os_move_to(old, OLD_BYTES, target, NEW_BYTES));
    CHECK(target[0] == 7 && target[OLD_BYTES - 1] == 7 && target[NEW_BYTES - 1] == 0);
    hk_os_unmap(target, NEW_BYTES);
}

/* Each thread that is asked adds its own. */
static void processors_add_up(void)
{
    cpu_set_t all;
    unsigned noted = 0;
    CHECK(hk_os_cpu_count() == 1);
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (!CPU_ISSET(cpu, &all))
            continue;
        CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        for (int again = 0; again < 2; again++)
            hk_os_note_cpus();
        CHECK(hk_os_cpu_count() == ++noted);
    }
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    hk_os_note_cpus();
    CHECK(hk_os_cpu_count() == (unsigned)CPU_COUNT(&all));
}

int main(void)
{
    moves_or_stays();
    processors_add_up();
    return 0;
}
