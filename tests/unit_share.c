/*
 * A limit in percent changes nothing where neither the control group's limit nor the machine's
 * memory can be seen.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <sys/sysinfo.h>

#include "cgroup.h"

static uint64_t group_bytes;

uint64_t hk_cgroup_limit_bytes(void)
{
    return group_bytes;
}

__attribute__((no_sanitize("thread"))) int sysinfo(struct sysinfo *info)
{
    (void)info;
    errno = EPERM;
    return -1;
}

static void check_kind(hak_limit_t kind)
{
    group_bytes = 0;
    CHECK(hak_limit_set(kind, 64 * MIB) == 0);
    CHECK(hak_limit_set_share(kind, 50) == ENOSYS);
    CHECK(hak_limit_get(kind) == 64 * MIB);
    group_bytes = 128 * MIB;
    CHECK(hak_limit_set_share(kind, 25) == 0);
    CHECK(hak_limit_get(kind) < 33 * MIB && hak_limit_get(kind) > 31 * MIB);
    CHECK(hak_limit_set(kind, 0) == 0);
}

int main(void)
{
    check_kind(HAK_LIMIT_HARD);
    check_kind(HAK_LIMIT_SOFT);
    return 0;
}
