/*
 * The control group's memory limit: version 2 and 1, nested groups, containers that see a part, and
 * files that make no sense.
 */
#include "test.h"

#include "cgroup.h"

#include "fake_os.h"

#define GIB (UINT64_C(1) << 30)

static const char own_file[] = "/proc/self/cgroup";

static uint64_t limit_with(const fake_os_file_t *files)
{
    fake_os_files = files;
    return hk_cgroup_limit_bytes();
}

#define LIMIT(...) limit_with((const fake_os_file_t[]){__VA_ARGS__, {NULL, NULL}})

static void check_version_2(void)
{
    CHECK(LIMIT({own_file, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "1073741824\n"}) == GIB);
    CHECK(LIMIT({own_file, "0::/a/b\n"}, {"/sys/fs/cgroup/a/b/memory.max", "2147483648\n"}) ==
          2 * GIB);
    /* The nearest group above that has one. */
    CHECK(LIMIT({own_file, "0::/a/b\n"}, {"/sys/fs/cgroup/a/b/memory.max", "max\n"},
                {"/sys/fs/cgroup/a/memory.max", "3221225472\n"}) == 3 * GIB);
    /* The lowest of several is the one that the kernel enforces. */
    CHECK(LIMIT({own_file, "0::/a/b\n"}, {"/sys/fs/cgroup/a/b/memory.max", "3221225472\n"},
                {"/sys/fs/cgroup/a/memory.max", "1073741824\n"}) == GIB);
    CHECK(LIMIT({own_file, "0::/a/b\n"}, {"/sys/fs/cgroup/a/b/memory.max", "1073741824\n"},
                {"/sys/fs/cgroup/a/memory.max", "3221225472\n"}) == GIB);
    /* A container that is shown its own group as the root, under a path from outside. */
    CHECK(LIMIT({own_file, "0::/docker/0123\n"}, {"/sys/fs/cgroup/memory.max", "1073741824\n"}) ==
          GIB);
    CHECK(LIMIT({own_file, "0::/../x\n"}, {"/sys/fs/cgroup/memory.max", "1073741824\n"}) == GIB);
    /* No line feed at the end of the only line. */
    CHECK(LIMIT({own_file, "0::/a"}, {"/sys/fs/cgroup/a/memory.max", "1073741824"}) == GIB);
}

static void check_version_1(void)
{
    static const char groups[] = "3:cpu,cpuacct:/c\n2:hugetlb,memory:/m\n1:name=systemd:/s\n";
    CHECK(LIMIT({own_file, groups},
                {"/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1073741824\n"},
                {"/sys/fs/cgroup/memory/s/memory.limit_in_bytes", "4096\n"},
                {"/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "4096\n"}) == GIB);
    /* "None" is a number. */
    CHECK(LIMIT({own_file, groups},
                {"/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "9223372036854771712\n"}) == 0);
    /* A name that begins or ends like the controller's is another. */
    CHECK(LIMIT({own_file, "2:memory2,nomemory:/m\n"},
                {"/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1073741824\n"}) == 0);
    /* Both versions at once, with the controller in either. */
    CHECK(LIMIT({own_file, "4:memory:/m\n0::/u\n"},
                {"/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1073741824\n"}) == GIB);
    CHECK(LIMIT({own_file, "4:memory:/m\n0::/u\n"}, {"/sys/fs/cgroup/u/memory.max", "2147483648"},
                {"/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "9223372036854771712\n"}) ==
          2 * GIB);
}

static void check_none(void)
{
    fake_os_files = NULL;
    CHECK(hk_cgroup_limit_bytes() == 0);
    static const char *const senseless[] = {
        "", "\n", "\n\n\n", ":", "::", "0", "0:", "0:\n:x", "x"};
    for (size_t i = 0; i < TEST_COUNT(senseless); i++)
        CHECKF(LIMIT({own_file, senseless[i]}) == 0, " (%zu)", i);
    CHECK(LIMIT({own_file, "0::/\n"}) == 0);
    CHECK(LIMIT({own_file, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "max\n"}) == 0);
    CHECK(LIMIT({own_file, "0::/\n"}, {"/sys/fs/cgroup/memory.max", ""}) == 0);
    CHECK(LIMIT({own_file, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "-1\n"}) == 0);
    /* Above the machine's memory it limits nothing. */
    CHECK(LIMIT({own_file, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "8589934592\n"}) == 0);
    CHECK(LIMIT({own_file, "0::/\n"},
                {"/sys/fs/cgroup/memory.max", "99999999999999999999999999\n"}) == 0);
    /* A path as long as the buffer is cut; nothing is written beyond it. */
    static char longest[8192];
    memset(longest, 'a', sizeof longest - 1);
    memcpy(longest, "0::/", 4);
    CHECK(LIMIT({own_file, longest}, {"/sys/fs/cgroup/memory.max", "1073741824\n"}) == GIB);
    for (size_t i = 5; i < sizeof longest - 1; i += 2)
        longest[i] = '/';
    CHECK(LIMIT({own_file, longest}, {"/sys/fs/cgroup/memory.max", "1073741824\n"}) == GIB);
}

int main(void)
{
    check_version_2();
    check_version_1();
    check_none();
    return 0;
}
