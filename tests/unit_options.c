/*
 * The options: what the environment sets, and what is said about the rest.
 */
#include "test.h"

#include "options.h"

#include <sys/auxv.h>
#include <sys/mman.h>

static hk_options_t standard;
static char said[64 * 1024]; /* on stderr, by the last read_options */

static bool has_privileges;

unsigned long getauxval(unsigned long type)
{
    unsigned long (*next)(unsigned long);
    *(void **)(void *)&next = dlsym(RTLD_NEXT, "getauxval");
    return type == AT_SECURE ? has_privileges : next(type);
}

static void read_options(char **environment)
{
    int saved = dup(2);
    int file = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(saved >= 0 && file >= 0);
    CHECK(dup2(file, 2) == 2);
    hk_options = standard;
    hk_options_read(environment, NULL);
    CHECK(dup2(saved, 2) == 2);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    CHECK(got >= 0);
    said[got] = '\0';
    CHECK(close(file) == 0 && close(saved) == 0);
}

static void read_one(const char *entry)
{
    static char text[8 * 1024];
    CHECK(strlen(entry) < sizeof text);
    strcpy(text, entry);
    char *environment[] = {text, NULL};
    read_options(environment);
}

#define CHECK_SAID(entry, text)                                                                    \
    do {                                                                                           \
        read_one(entry);                                                                           \
        CHECKF(strcmp(said, (text)) == 0, " (%.200s: '%.400s')", (entry), said);                   \
    } while (0)

static bool is_standard(void)
{
    return hk_options.stats == standard.stats && hk_options.stats_file == standard.stats_file &&
           hk_options.stats_json == standard.stats_json &&
           hk_options.tiny_ss_shared == standard.tiny_ss_shared && hk_options.limit.bytes == 0 &&
           hk_options.limit.percent == 0 && hk_options.soft_limit.bytes == 0 &&
           hk_options.soft_limit.percent == 0 && hk_options.cap.bytes == 0 &&
           hk_options.cap.percent == 0 && hk_options.harden == standard.harden &&
           hk_options.guard_sample == standard.guard_sample;
}

static void check_good(void)
{
    CHECK_SAID("HAKMEM_STATS=1", "");
    CHECK(hk_options.stats == 1 && hk_options.stats_json == 0 && hk_options.stats_file == NULL);
    CHECK_SAID("HAKMEM_STATS=0", "");
    CHECK(is_standard());
    CHECK_SAID("HAKMEM_STATS=0K", ""); /* a unit is allowed behind any number */
    CHECK(is_standard());
    CHECK_SAID("HAKMEM_STATS=001", "");
    CHECK(hk_options.stats == 1);
    CHECK_SAID("HAKMEM_STATS_JSON=1", "");
    CHECK(hk_options.stats_json == 1 && hk_options.stats == 0);
    CHECK_SAID("HAKMEM_TINY_SS_SHARED=2", "");
    CHECK(hk_options.tiny_ss_shared == 2);
    CHECK_SAID("HAKMEM_HARDEN=2", "");
    CHECK(hk_options.harden == 2);
    CHECK_SAID("HAKMEM_STATS_FILE=/tmp/a=b.%p", "");
    CHECK(hk_options.stats_file != NULL && strcmp(hk_options.stats_file, "/tmp/a=b.%p") == 0);
    CHECK_SAID("HAKMEM_STATS_FILE=", "");
    CHECK(is_standard());

    char first[] = "HAKMEM_STATS=1", path[] = "PATH=/bin", second[] = "HAKMEM_TINY_SS_SHARED=2";
    char third[] = "HAKMEM_STATS_FILE=x";
    char *environment[] = {path, first, second, third, NULL};
    read_options(environment);
    CHECK(said[0] == '\0');
    CHECK(hk_options.stats == 1 && hk_options.tiny_ss_shared == 2 && hk_options.stats_json == 0);
    third[strlen(third) - 1] = 'y'; /* programs write over their environment */
    CHECK(hk_options.stats_file != NULL && strcmp(hk_options.stats_file, "x") == 0);
}

static void check_foreign(void)
{
    static const char *const foreign[] = {"PATH=/bin",  "HAKMEM=1",        "HAKMEMSTATS=1",
                                          "",           "hakmem_stats=1",  "XHAKMEM_STATS=1",
                                          "HAKMEM_STA", "HAKMEM_NOVALUES", "=HAKMEM_STATS=1"};
    for (size_t i = 0; i < TEST_COUNT(foreign); i++) {
        CHECK_SAID(foreign[i], "");
        CHECKF(is_standard(), " (%s)", foreign[i]);
    }
    read_options(NULL);
    CHECK(said[0] == '\0' && is_standard());
    char *none[] = {NULL};
    read_options(none);
    CHECK(said[0] == '\0' && is_standard());
}

static void check_unknown(void)
{
    CHECK_SAID("HAKMEM_STAT=1", "hakmem: unknown option HAKMEM_STAT; did you mean HAKMEM_STATS?\n");
    CHECK(is_standard());
    CHECK_SAID("HAKMEM_stats=1", "hakmem: unknown option HAKMEM_stats\n");
    CHECK_SAID("HAKMEM_STATSJSON=1",
               "hakmem: unknown option HAKMEM_STATSJSON; did you mean HAKMEM_STATS_JSON?\n");
    CHECK_SAID("HAKMEM_STATS_FIEL=x",
               "hakmem: unknown option HAKMEM_STATS_FIEL; did you mean HAKMEM_STATS_FILE?\n");
    CHECK_SAID("HAKMEM_TINY_SHARED=2",
               "hakmem: unknown option HAKMEM_TINY_SHARED; did you mean HAKMEM_TINY_SS_SHARED?\n");
    CHECK_SAID("HAKMEM_TINY_SS_SHAREDX=2", "hakmem: unknown option HAKMEM_TINY_SS_SHAREDX; did you "
                                           "mean HAKMEM_TINY_SS_SHARED?\n");
    CHECK_SAID("HAKMEM_QUITE_ANOTHER_NAME=1", "hakmem: unknown option HAKMEM_QUITE_ANOTHER_NAME\n");
    CHECK_SAID("HAKMEM_=1", "hakmem: unknown option HAKMEM_\n");
    /* A name cannot bring lines or colours of its own. */
    CHECK_SAID("HAKMEM_A\nhakmem: B\033[1m\177\303\244=1",
               "hakmem: unknown option HAKMEM_A?hakmem: B?[1m???\n");
    CHECK(is_standard());

    /* One line whatever the length. */
    static char entry[4096];
    for (size_t length = 1; length < sizeof entry - 32; length += length < 600 ? 1 : 97) {
        strcpy(entry, "HAKMEM_");
        memset(entry + 7, 'Q', length);
        strcpy(entry + 7 + length, "=1");
        read_one(entry);
        size_t line = strlen(said);
        CHECKF(line > 0 && line <= 512 && strchr(said, '\n') == said + line - 1, " (%zu)", length);
        CHECKF(strncmp(said, "hakmem: unknown option HAKMEM_Q", 31) == 0, " (%zu)", length);
    }

    /* Each wrong name has a line, and the right ones between them count. */
    char first[] = "HAKMEM_AAAAAAAAA=1", second[] = "HAKMEM_STATS=1", third[] = "HAKMEM_STATZ=1";
    char *environment[] = {first, second, third, NULL};
    read_options(environment);
    CHECKF(strcmp(said, "hakmem: unknown option HAKMEM_AAAAAAAAA\n"
                        "hakmem: unknown option HAKMEM_STATZ; did you mean HAKMEM_STATS?\n") == 0,
           " ('%s')", said);
    CHECK(hk_options.stats == 1);
}

static void check_bad(void)
{
    static const char *const values[] = {"",
                                         "2",
                                         "-1",
                                         "+1",
                                         " 1",
                                         "1 ",
                                         "x",
                                         "1x",
                                         "0x1",
                                         "1.0",
                                         "1k",
                                         "1K",
                                         "1KK",
                                         "K",
                                         "1KB",
                                         "yes",
                                         "on",
                                         "true",
                                         "1\n",
                                         "1M",
                                         "18446744073709551615",
                                         "18446744073709551616",
                                         "18446744073709551617",
                                         "99999999999999999999999999999",
                                         "18014398509481984K",
                                         "17592186044417G"};
    for (size_t i = 0; i < TEST_COUNT(values); i++) {
        char entry[128] = "HAKMEM_STATS=";
        strcat(entry, values[i]);
        CHECK_SAID(entry,
                   "hakmem: bad value for HAKMEM_STATS: it takes 0 to 1; the default is kept\n");
        CHECKF(is_standard(), " ('%s')", values[i]);
    }
    static const char shared[] =
        "hakmem: bad value for HAKMEM_TINY_SS_SHARED: it takes 1 to 2; the default is kept\n";
    CHECK_SAID("HAKMEM_TINY_SS_SHARED=0", shared);
    CHECK_SAID("HAKMEM_TINY_SS_SHARED=3", shared);
    CHECK_SAID("HAKMEM_TINY_SS_SHARED=two", shared);
    CHECK(is_standard() && hk_options.tiny_ss_shared == 1);
}

static bool is_limit(uint64_t bytes, uint64_t percent)
{
    return hk_options.limit.bytes == bytes && hk_options.limit.percent == percent;
}

static void check_amounts(void)
{
    CHECK_SAID("HAKMEM_LIMIT=0", "");
    CHECK(is_limit(0, 0));
    CHECK_SAID("HAKMEM_LIMIT=12345", "");
    CHECK(is_limit(12345, 0));
    CHECK_SAID("HAKMEM_LIMIT=3G", "");
    CHECK(is_limit(UINT64_C(3) << 30, 0));
    CHECK_SAID("HAKMEM_LIMIT=1%", "");
    CHECK(is_limit(0, 1));
    CHECK_SAID("HAKMEM_LIMIT=100%", "");
    CHECK(is_limit(0, 100));
    CHECK_SAID("HAKMEM_SOFT_LIMIT=75%", "");
    CHECK(hk_options.soft_limit.percent == 75 && is_limit(0, 0));
    static const char *const values[] = {"",
                                         "-1",
                                         "-5%",
                                         "0%",
                                         "101%",
                                         "200%",
                                         "1000%",
                                         "%",
                                         "5%%",
                                         "5.5%",
                                         "5 %",
                                         "5K%",
                                         "5%K",
                                         "x%",
                                         "half",
                                         "1T",
                                         "1GB",
                                         "18446744073709551616",
                                         "99999999999999999999%"};
    for (size_t i = 0; i < TEST_COUNT(values); i++) {
        char entry[128] = "HAKMEM_LIMIT=";
        strcat(entry, values[i]);
        CHECK_SAID(entry, "hakmem: bad value for HAKMEM_LIMIT: it takes bytes (with K, M or G) or "
                          "1% to 100%; the default is kept\n");
        CHECKF(is_standard(), " ('%s')", values[i]);
    }
}

/* What is said of the options, and what they do, is nobody's business there; nor do they reach the
 * programs that this one starts, which may be the superuser's without counting as privileged. */
static void check_privileges(void)
{
    char path[] = "PATH=/bin", file[] = "HAKMEM_STATS_FILE=/etc/x", stats[] = "HAKMEM_STATS=1";
    char near[] = "HAKMEMORY=1", unknown[] = "HAKMEM_NONE=1";
    char *environment[] = {stats, path, file, near, unknown, NULL};
    has_privileges = true;
    read_options(environment);
    CHECK(said[0] == '\0');
    CHECK(hk_options.harden == 1 && hk_options.stats == 0 && hk_options.stats_file == NULL);
    CHECK(environment[0] == path && environment[1] == near && environment[2] == NULL);
    read_options(NULL);
    CHECK(hk_options.harden == 1);
    has_privileges = false;
}

int main(void)
{
    standard = hk_options;
    CHECK(standard.stats == 0 && standard.stats_json == 0 && standard.stats_file == NULL);
    CHECK(standard.tiny_ss_shared == 1);
    check_good();
    check_foreign();
    check_unknown();
    check_bad();
    check_amounts();
    check_privileges();
    return 0;
}
