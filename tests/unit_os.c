/*
 * Moving a mapping where limits do not allow it: it stays, and no address space is lost.
 */
#include "test.h"

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

int main(void)
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
    return 0;
}
