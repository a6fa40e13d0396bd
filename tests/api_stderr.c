/*
 * The report at the end goes to standard error only if that is what it was at the start; where a
 * sandbox does not let HAKMEM see, it goes there in any case.  Without HAKMEM_STATS nobody looks.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <sys/mman.h>
#include <sys/stat.h>

static unsigned looks;

/* The library's: the test has no other. */
__attribute__((no_sanitize("thread"))) int fstat(int fd, struct stat *info)
{
    looks++;
    if (getenv("TEST_REFUSE") != NULL) {
        errno = EPERM;
        return -1;
    }
    return fstatat(fd, "", info, AT_EMPTY_PATH);
}

/* Starts this program again with one of two files as standard error, which puts the other there. */
static void check_report(bool expected)
{
    char text[64] = "";
    int before = memfd_create("before", 0), after = memfd_create("after", MFD_CLOEXEC), status;
    CHECK(before >= 0 && after >= 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(dup2(after, 10) == 10 && dup2(before, 2) == 2);
        execl("/proc/self/exe", "api_stderr", "again", (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(pread(before, text, sizeof text, 0) == 0);
    CHECK((pread(after, text, sizeof text - 1, 0) > 0) == expected);
    CHECKF(!expected || strncmp(text, "HAKMEM ", 7) == 0, " ('%s')", text);
    CHECK(close(before) == 0 && close(after) == 0);
}

int main(int argc, char **argv)
{
    (void)argv;
    hak_free(hak_malloc(1)); /* so that the library is linked in */
    if (argc > 1) {
        return dup2(10, 2) == 2 ? 0 : 1;
    }
    CHECK(looks == 0);
    CHECK(setenv("HAKMEM_STATS", "1", 1) == 0);
    check_report(false);
    CHECK(setenv("TEST_REFUSE", "1", 1) == 0);
    check_report(true);
    return 0;
}
