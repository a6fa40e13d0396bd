/*
 * HAKMEM_HUGE in the environment: which slabs are asked to be of huge pages, or of none, with each
 * of its values, and what is said.  What the kernel was asked is in /proc/self/smaps; whether it
 * then makes pages huge is its own affair.
 */
#include "sandbox.h"
#include "stats_now.h"

#include <sys/mman.h>

enum { BLOCKS = 800000, BYTES = 128, SAMPLE = 2000, HUGE_BYTES = 2 << 20 };
enum { NO_HUGE, AS_SYSTEM, ASK_HUGE, KINDS };

static char *blocks[BLOCKS];

/* ---- What the kernel was asked ---- */

static int kind_of(const char *flags)
{
    return strstr(flags, " nh") != NULL ? NO_HUGE : strstr(flags, " hg") ? ASK_HUGE : AS_SYSTEM;
}

/* Of the addresses, how many lie in mappings of each kind. */
static void count_kinds(char *const *addresses, size_t count, size_t step, size_t kinds[KINDS])
{
    char line[512];
    unsigned long from, to, start = 0, end = 0;
    FILE *maps = fopen("/proc/self/smaps", "re");
    memset(kinds, 0, KINDS * sizeof *kinds);
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            start = from;
            end = to;
        }
        for (size_t i = 0; strncmp(line, "VmFlags:", 8) == 0 && i < count; i += step)
            kinds[kind_of(line)] += (uintptr_t)addresses[i] - start < end - start;
    }
    if (maps != NULL)
        (void)fclose(maps);
}

/* Whether a mapping can be asked to be huge, and smaps shows it: some kernels and emulators do
 * neither. */
static bool is_asked(char *memory, int advice, int kind)
{
    size_t kinds[KINDS];
    if (madvise(memory, HUGE_BYTES, advice) != 0)
        return false;
    count_kinds(&memory, 1, 1, kinds);
    return kinds[kind] == 1;
}

static bool is_shown(void)
{
    char *memory =
        mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    bool shown =
        is_asked(memory, MADV_NOHUGEPAGE, NO_HUGE) && is_asked(memory, MADV_HUGEPAGE, ASK_HUGE);
    CHECK(munmap(memory, HUGE_BYTES) == 0);
    return shown;
}

/* ---- The program that has the variable ---- */

static void fill(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        CHECK((blocks[i] = hak_malloc(BYTES)) != NULL);
        memset(blocks[i], i, BYTES);
    }
    CHECK(stats_now().superslabs > 32);
}

/* What full slabs are asked for after some seconds has been asked after so long, or soon. */
enum { LONG_ENOUGH_MS = 3500, ON_A_BUSY_MACHINE_MS = 30000 };

static void live_on(int ms)
{
    for (int i = 0; i < ms / 10; i++) {
        hak_stats_t stats = stats_now();
        if (stats.huge_superslabs != 0 || stats.huge_refusals != 0)
            return;
        hak_free(hak_malloc(100000));
        usleep(10000);
    }
}

static void check_never(void)
{
    size_t kinds[KINDS];
    live_on(LONG_ENOUGH_MS);
    count_kinds(blocks, BLOCKS, SAMPLE, kinds);
    CHECK(kinds[NO_HUGE] == BLOCKS / SAMPLE);
    CHECK(stats_now().huge_superslabs == 0 && stats_now().huge_refusals == 0);
}

static void check_default(void)
{
    size_t kinds[KINDS];
    count_kinds(blocks, BLOCKS, SAMPLE, kinds);
    CHECKF(kinds[NO_HUGE] > 0 && kinds[AS_SYSTEM] > 0, " (%zu, %zu)", kinds[NO_HUGE],
           kinds[AS_SYSTEM]);
}

static void check_dense(void)
{
    size_t kinds[KINDS];
    check_default();
    live_on(ON_A_BUSY_MACHINE_MS);
    count_kinds(blocks, BLOCKS, SAMPLE, kinds);
    CHECK(kinds[ASK_HUGE] > 0 && stats_now().huge_superslabs > 0);
}

static void check_new(void)
{
    size_t kinds[KINDS];
    count_kinds(blocks, BLOCKS, SAMPLE, kinds);
    CHECKF(kinds[ASK_HUGE] > 0 && kinds[AS_SYSTEM] == 0, " (%zu, %zu)", kinds[ASK_HUGE],
           kinds[AS_SYSTEM]);
    CHECK(stats_now().huge_superslabs > 0 && stats_now().huge_refusals == 0);
}

static void check_refused(void)
{
    static const long call = SYS_madvise;
    sandbox_install(&call, 1, SECCOMP_RET_ERRNO | EINVAL, SECCOMP_RET_ALLOW);
    fill();
    live_on(ON_A_BUSY_MACHINE_MS);
    CHECK(stats_now().huge_superslabs == 0 && stats_now().huge_refusals == 1);
}

static void run_here(const char *what)
{
    static const struct {
        const char *name;
        void (*check)(void);
    } filled[] = {{"never", check_never},
                  {"default", check_default},
                  {"dense", check_dense},
                  {"new", check_new}};
    if (strcmp(what, "refused") == 0) {
        check_refused();
        return;
    }
    fill();
    for (size_t i = 0; i < TEST_COUNT(filled); i++)
        if (strcmp(what, filled[i].name) == 0)
            filled[i].check();
}

/* ---- All values ---- */

/* Starts this program again with the value; what it says must be the line. */
static void check_value(const char *value, const char *what, const char *line)
{
    char said[1024];
    int file = memfd_create("stderr", 0), status;
    CHECK(file >= 0 && setenv("HAKMEM_HUGE", value, 1) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(dup2(file, 2) == 2);
        execl("/proc/self/exe", "api_huge", what, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    CHECK(got >= 0 && close(file) == 0);
    said[got] = '\0';
    CHECKF(status == 0 && strcmp(said, line) == 0, " (%s, %s: status 0x%x, '%s')", value, what,
           (unsigned)status, said);
}

int main(int argc, char **argv)
{
    static const char bad[] =
        "hakmem: bad value for HAKMEM_HUGE: it takes 0 to 2; the default is kept\n";
    static const char refused[] =
        "hakmem: the system refuses huge pages: memory stays of small ones\n";
    if (argc > 1) {
        run_here(argv[1]);
        return 0;
    }
    bool shown = is_shown();
    check_value("0", shown ? "never" : "fill", "");
    check_value("1", shown ? "dense" : "fill", "");
    if (shown)
        check_value("2", "new", "");
    check_value("3", shown ? "default" : "fill", bad);
    check_value("yes", "fill", bad);
    if (TEST_SANITIZED || !sandbox_is_possible()) {
        puts("refusals not tried: a sanitizer's own system calls, or no filters here");
        return 0;
    }
    check_value("1", "refused", "");
    check_value("2", "refused", refused);
    return 0;
}
