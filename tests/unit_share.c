/*
 * A limit in percent changes nothing where neither the control group's limit nor the machine's
 * memory can be seen.  What is said of that, or of taking the one for the other, is said once.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "cgroup.h"

static uint64_t group_bytes;
static uint64_t physical_bytes; /* 0: refused */

uint64_t hk_cgroup_limit_bytes(void)
{
    return group_bytes;
}

__attribute__((no_sanitize("thread"))) int sysinfo(struct sysinfo *info)
{
    *info = (struct sysinfo){.totalram = physical_bytes, .mem_unit = 1};
    errno = EPERM;
    return physical_bytes != 0 ? 0 : -1;
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

static void check_both(void)
{
    check_kind(HAK_LIMIT_HARD);
    check_kind(HAK_LIMIT_SOFT);
}

static void check_physical(void)
{
    physical_bytes = 1024 * MIB;
    CHECK(hak_limit_set_share(HAK_LIMIT_SOFT, 50) == 0);
    CHECK(hak_limit_set_share(HAK_LIMIT_HARD, 75) == 0);
    CHECK(hak_limit_get(HAK_LIMIT_SOFT) / MIB == 511 && hak_limit_get(HAK_LIMIT_HARD) / MIB == 767);
}

/* What a process of its own says on stderr must be this one line. */
static void check_line(void (*body)(void), const char *line)
{
    char said[1024];
    int file = memfd_create("stderr", MFD_CLOEXEC), status;
    CHECK(file >= 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(dup2(file, 2) == 2);
        body();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    CHECK(got >= 0 && close(file) == 0);
    said[got] = '\0';
    CHECKF(status == 0 && strcmp(said, line) == 0, " ('%s')", said);
}

int main(void)
{
    check_line(check_both, "hakmem: no cgroup memory limit, and the physical memory is not known: "
                           "a share of it is no limit\n");
    check_line(check_physical, "hakmem: no cgroup memory limit: a share is of the physical memory, "
                               "1073741824 bytes\n");
    return 0;
}
