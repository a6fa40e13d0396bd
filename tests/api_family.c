/*
 * Every function of hakmem.h but the heaps: the malloc family's semantics, good_size, trim,
 * statistics, the check.
 */
#include "family_checks.h"

static void version(void)
{
    CHECK(hak_version() ==
          HAKMEM_VERSION_MAJOR * 10000 + HAKMEM_VERSION_MINOR * 100 + HAKMEM_VERSION_PATCH);
}

static void good_size(void)
{
    fam_ladder_t ladder = fam_ladder();
    bool sampling = getenv("HAKMEM_GUARD_SAMPLE") != NULL;
    for (size_t i = 0; i < ladder.count + 70001; i++) {
        size_t size = i < ladder.count ? ladder.sizes[i] : i - ladder.count;
        void *block = t_malloc(size);
        CHECK(block != NULL);
        size_t usable = t_usable_size(block), good = t_good_size(size);
        CHECKF(sampling ? good <= usable : good == usable, " (size %zu: good %zu, usable %zu)",
               size, good, usable);
        t_free(block);
        /* To ask for the good size is to get exactly it. */
        CHECKF(t_good_size(good) == good, " (size %zu, good %zu, again %zu)", size, good,
               t_good_size(good));
    }
    CHECK(t_good_size(SIZE_MAX) == SIZE_MAX);
    CHECK(t_good_size(SIZE_MAX - 100) == SIZE_MAX - 100);
    CHECK(t_good_size(FAM_ABOVE_MAX) == FAM_ABOVE_MAX);
}

/* The documented bound on internal waste: at most 12.5 % above 128 bytes. */
static void waste(void)
{
    for (size_t size = 129; size <= 9 * MIB; size += size < 70000 ? 1 : size / 1000) {
        size_t good = t_good_size(size);
        size_t page_round = (size + 4095) & ~(size_t)4095;
        bool fine = (good - size) * 8 <= good || (size > 32 * KIB && good <= page_round);
        CHECKF(fine, " (size %zu takes %zu)", size, good);
    }
}

static void bad_alignments(void)
{
    static const size_t bad[] = {0,    3,    5,    6,    7,       12,      24,           48,
                                 1000, 4095, 4097, 6144, MIB + 1, 3 * MIB, SIZE_MAX - 1, SIZE_MAX};
    static const size_t sizes[] = {0, 1, 64, 5000, 100000, 3 * MIB};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        for (size_t j = 0; j < TEST_COUNT(sizes); j++) {
            FAM_CHECK_FAILS(t_aligned_alloc(bad[i], sizes[j]), EINVAL);
        }
    }
}

static void trim(void)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    (void)hak_trim(0);
    size_t before = test_rss_bytes();
    size_t held = 0;
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i % 2000 == 0 ? 3 * MIB : i % 100 == 0 ? 90 * KIB : 100 + i % 3000;
        blocks[i] = t_malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, size);
        held += size;
    }
    size_t full = test_rss_bytes();
    for (size_t i = 0; i < COUNT; i++)
        t_free(blocks[i]);
    /* What is to be kept is not counted modulo anything. */
    hak_stats_t kept;
    (void)hak_trim(SIZE_MAX);
    (void)hak_trim((size_t)1 << 48);
    CHECK(hak_stats_get(&kept, sizeof kept) == 0);
    CHECKF(kept.pool_warm_bytes > 8 * MIB, " (%llu)", (unsigned long long)kept.pool_warm_bytes);
    CHECK(hak_trim(0) == 1);
    size_t after = test_rss_bytes();
    printf("trim: %zu KiB held; RSS %zu before, %zu full, %zu KiB trimmed\n", held / KIB,
           before / KIB, full / KIB, after / KIB);
    if (!TEST_SANITIZED) {
        CHECK(full - before > held / 2);
        CHECKF(after < before + 6 * MIB, " (before %zu, after %zu)", before, after);
    }
    CHECK(t_check() == 0);
}

static void stats_versioning(void)
{
    union {
        hak_stats_t stats;
        unsigned char bytes[sizeof(hak_stats_t) + 256];
    } buffer;

    CHECK(hak_stats_get(NULL, sizeof(hak_stats_t)) == EINVAL);
    CHECK(hak_stats_get(NULL, 0) == EINVAL);
    for (size_t size = 0; size < 8; size++) {
        memset(&buffer, 0xee, sizeof buffer);
        CHECK(hak_stats_get(&buffer.stats, size) == EINVAL);
        CHECK(test_is_filled_with(&buffer, 0xee, sizeof buffer));
    }
    /* A caller that knows less: nothing is written beyond what it has. */
    for (size_t size = 8; size <= sizeof(hak_stats_t); size++) {
        memset(&buffer, 0xee, sizeof buffer);
        CHECK(hak_stats_get(&buffer.stats, size) == 0);
        CHECK(buffer.stats.struct_bytes == sizeof(hak_stats_t));
        CHECK(buffer.stats.version == (uint32_t)hak_version());
        CHECKF(test_is_filled_with(buffer.bytes + size, 0xee, sizeof buffer - size), " (size %zu)",
               size);
    }
    /* A caller that knows more: what the library lacks is zero. */
    for (size_t more = 1; more <= 256; more += 51) {
        memset(&buffer, 0xee, sizeof buffer);
        CHECK(hak_stats_get(&buffer.stats, sizeof(hak_stats_t) + more) == 0);
        CHECK(buffer.stats.struct_bytes == sizeof(hak_stats_t));
        CHECK(test_is_filled_with(buffer.bytes + sizeof(hak_stats_t), 0, more));
        CHECK(test_is_filled_with(buffer.bytes + sizeof(hak_stats_t) + more, 0xee, 256 - more));
    }
}

static hak_stats_t stats_now(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    CHECK(stats.committed_bytes <= stats.mapped_bytes);
    CHECK(stats.metadata_bytes <= stats.mapped_bytes);
    return stats;
}

static void stats_figures(void)
{
    enum { COUNT = 30000, EACH = 700 };
    static void *blocks[COUNT];
    hak_stats_t start = stats_now();
    CHECK(start.heaps >= 1);
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = t_malloc(EACH);
        CHECK(blocks[i] != NULL);
    }
    void *large = t_malloc(40 * MIB);
    CHECK(large != NULL);
    hak_stats_t full = stats_now();
    CHECK(full.superslabs >= 1);
    CHECK(full.in_use_bytes >= (uint64_t)COUNT * EACH);
    CHECKF(full.large_bytes >= start.large_bytes + 40 * MIB, " (%llu then %llu)",
           (unsigned long long)start.large_bytes, (unsigned long long)full.large_bytes);
    CHECK(full.mapped_bytes >= 40 * MIB + (uint64_t)COUNT * EACH);
    CHECK(full.stage_acquires[0] + full.stage_acquires[1] + full.stage_acquires[2] +
              full.stage_acquires[3] >
          0);
    t_free(large);
    for (size_t i = 0; i < COUNT; i++)
        t_free(blocks[i]);
    hak_stats_t freed = stats_now();
    CHECK(freed.large_bytes <= start.large_bytes + 1 * MIB);
    CHECKF(freed.in_use_bytes <= start.in_use_bytes + 4 * MIB, " (%llu then %llu)",
           (unsigned long long)start.in_use_bytes, (unsigned long long)freed.in_use_bytes);
    (void)hak_trim(0);
    hak_stats_t trimmed = stats_now();
    uint64_t gone = 40 * MIB + (uint64_t)COUNT * EACH / 2;
    CHECK(trimmed.purged_bytes >= freed.purged_bytes);
    CHECKF(trimmed.purged_bytes >= start.purged_bytes + gone, " (%llu then %llu)",
           (unsigned long long)start.purged_bytes, (unsigned long long)trimmed.purged_bytes);
    CHECK(trimmed.committed_bytes <= freed.committed_bytes);
    CHECK(trimmed.large_cached_bytes <= 1 * MIB);
}

/* Reports into a file: something is written, nothing is allocated, errors are returned and errno
 * values. */
static void reports(void)
{
    static char text[1 << 20];
    int (*const writers[])(int) = {hak_stats_print, hak_stats_json};
    for (size_t i = 0; i < TEST_COUNT(writers); i++) {
        char path[] = "/tmp/hakmem-report-XXXXXX";
        int fd = mkstemp(path);
        CHECK(fd >= 0);
        CHECK(unlink(path) == 0);
        hak_stats_t before = stats_now();
        CHECK(writers[i](fd) == 0);
        hak_stats_t after = stats_now();
        CHECK(after.in_use_bytes == before.in_use_bytes);
        CHECK(after.mapped_bytes == before.mapped_bytes);
        ssize_t got = pread(fd, text, sizeof text - 1, 0);
        CHECK(got > 0);
        CHECK(text[got - 1] == '\n');
        CHECK(memchr(text, 0, (size_t)got) == NULL);
        if (i == 1) {
            text[got] = 0;
            CHECK(text[0] == '{');
            CHECK(strrchr(text, '}') != NULL);
            CHECK(strstr(text, "mapped_bytes") != NULL);
        }
        close(fd);
        CHECK(writers[i](fd) == EBADF);
        CHECK(writers[i](-1) == EBADF);
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        if (full >= 0) {
            CHECK(writers[i](full) == ENOSPC);
            close(full);
        }
    }
}

int main(void)
{
    /* The first thing the library sees may be any of these. */
    t_free(NULL);
    CHECK(t_check() == 0);
    version();
    good_size();
    waste();
    bad_alignments();
    fam_all();
    trim();
    stats_versioning();
    stats_figures();
    reports();
    CHECK(t_check() == 0);
    puts("api_family: ok");
    return 0;
}
