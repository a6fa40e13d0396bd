/*
 * Runs a fuzz target without libFuzzer: on the files and folders named, or on standard input.
 * Built by afl-clang-fast it is AFL++'s persistent mode.
 */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

enum { INPUT_MAX = 1 << 20 };

static uint8_t input[INPUT_MAX];

static size_t read_all(int fd)
{
    size_t length = 0;
    ssize_t got;
    while (length < sizeof input && (got = read(fd, input + length, sizeof input - length)) > 0)
        length += (size_t)got;
    return length;
}

/* Returns how many inputs it ran. */
static size_t run_path(const char *path)
{
    struct stat status;
    CHECKF(stat(path, &status) == 0, " (%s)", path);
    if (!S_ISDIR(status.st_mode)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECKF(fd >= 0, " (%s)", path);
        size_t length = read_all(fd);
        CHECK(close(fd) == 0);
        (void)LLVMFuzzerTestOneInput(input, length);
        return 1;
    }
    size_t count = 0;
    DIR *folder = opendir(path);
    CHECKF(folder != NULL, " (%s)", path);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        CHECK(snprintf(name, sizeof name, "%s/%s", path, entry->d_name) < (int)sizeof name);
        count += run_path(name);
    }
    CHECK(closedir(folder) == 0);
    return count;
}

#ifdef __AFL_FUZZ_TESTCASE_LEN
#pragma GCC diagnostic ignored "-Wconversion" /* AFL++'s own macros */
__AFL_FUZZ_INIT();
#endif

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++)
        count += run_path(argv[i]);
    if (argc > 1) {
        printf("%zu inputs\n", count);
        return count > 0 ? 0 : 1;
    }
#ifdef __AFL_FUZZ_TESTCASE_LEN
    __AFL_INIT();
    const uint8_t *data = __AFL_FUZZ_TESTCASE_BUF;
    while (__AFL_LOOP(10000))
        (void)LLVMFuzzerTestOneInput(data, (size_t)__AFL_FUZZ_TESTCASE_LEN);
#else
    (void)LLVMFuzzerTestOneInput(input, read_all(0));
#endif
    return 0;
}
