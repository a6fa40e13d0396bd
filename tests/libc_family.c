/*
 * The malloc family under its libc names; run with LD_PRELOAD=libhakmem.so.
 */
#define HAK_NAMES_LIBC
#include "family_checks.h"

static int (*volatile t_posix_memalign)(void **, size_t, size_t) = posix_memalign;
static void *(*volatile t_memalign)(size_t, size_t) = memalign;
static void *(*volatile t_valloc)(size_t) = valloc;
static void *(*volatile t_pvalloc)(size_t) = pvalloc;

static void origins(void)
{
    static const char *const names[] = {
        "malloc",
        "free",
        "calloc",
        "realloc",
        "aligned_alloc",
        "posix_memalign",
        "memalign",
        "valloc",
        "pvalloc",
        "malloc_usable_size",
        "reallocarray",
        "free_sized",
        "free_aligned_sized",
        "cfree",
        "malloc_trim",
        "mallinfo",
        "mallinfo2",
        "malloc_info",
        "malloc_stats",
        "mallopt",
        /* operator new and new[], plain, nothrow, aligned, aligned nothrow */
        "_Znwm",
        "_Znam",
        "_ZnwmRKSt9nothrow_t",
        "_ZnamRKSt9nothrow_t",
        "_ZnwmSt11align_val_t",
        "_ZnamSt11align_val_t",
        "_ZnwmSt11align_val_tRKSt9nothrow_t",
        "_ZnamSt11align_val_tRKSt9nothrow_t",
        /* operator delete and delete[], plain, sized, nothrow, aligned, sized aligned, aligned
         * nothrow */
        "_ZdlPv",
        "_ZdaPv",
        "_ZdlPvm",
        "_ZdaPvm",
        "_ZdlPvRKSt9nothrow_t",
        "_ZdaPvRKSt9nothrow_t",
        "_ZdlPvSt11align_val_t",
        "_ZdaPvSt11align_val_t",
        "_ZdlPvmSt11align_val_t",
        "_ZdaPvmSt11align_val_t",
        "_ZdlPvSt11align_val_tRKSt9nothrow_t",
        "_ZdaPvSt11align_val_tRKSt9nothrow_t",
        "hak_malloc",
        "hak_free",
        "hak_stats_get",
        "hak_check",
    };
    const char *any = getenv("HAKMEM_TEST_ANY");
    if (any != NULL && any[0] == '1')
        return;
    for (size_t i = 0; i < TEST_COUNT(names); i++) {
        const char *origin = test_origin(names[i]);
        CHECKF(strstr(origin, "libhakmem") != NULL, " (%s is from '%s')", names[i], origin);
    }
    /* The strdup family stays glibc's and calls malloc. */
    CHECK(strstr(test_origin("strdup"), "libhakmem") == NULL);
}

/* glibc's own allocating functions end up in HAKMEM: their results have its usable sizes and can be
 * freed by it. */
static void libc_callers(void)
{
    char *copy = strdup("a string of thirty-one letters.");
    CHECK(copy != NULL && t_usable_size(copy) >= 32);
    t_free(copy);
    char *text = NULL;
    CHECK(asprintf(&text, "%*d", 5000, 7) == 5000);
    CHECK(t_usable_size(text) >= 5001);
    t_free(text);
    char *path = realpath("/proc/../proc/self", NULL);
    CHECK(path != NULL);
    t_free(path);
    FILE *stream = open_memstream(&text, &(size_t){0});
    CHECK(stream != NULL);
    for (int i = 0; i < 20000; i++)
        CHECK(fprintf(stream, "%d ", i) > 0);
    CHECK(fclose(stream) == 0);
    CHECK(strncmp(text, "0 1 2 3 ", 8) == 0);
    t_free(text);
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file != NULL);
    while (getline(&line, &room, file) >= 0)
        CHECK(t_usable_size(line) >= room);
    fclose(file);
    t_free(line);
}

static void posix_memalign_semantics(void)
{
    static const size_t bad[] = {0,  1,   2,    4,    3,        12,          24,
                                 40, 100, 4095, 4097, SIZE_MAX, SIZE_MAX - 7};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        void *block = &block;
        errno = 77;
        CHECKF(t_posix_memalign(&block, bad[i], 100) == EINVAL, " (alignment %zu)", bad[i]);
        CHECK(block == (void *)&block);
        CHECK(errno == 77);
    }
    void *block = &block;
    errno = 77;
    CHECK(t_posix_memalign(&block, 64, SIZE_MAX - 10) == ENOMEM);
    CHECK(t_posix_memalign(&block, 64, FAM_ABOVE_MAX) == ENOMEM);
    CHECK(t_posix_memalign(&block, (size_t)1 << 62, 16) == ENOMEM);
    CHECK(block == (void *)&block);
    for (size_t alignment = sizeof(void *); alignment <= 4 * MIB; alignment *= 2) {
        for (size_t size = 0; size < 200000; size = size * 2 + 3) {
            errno = 77;
            CHECK(t_posix_memalign(&block, alignment, size) == 0);
            CHECK(errno == 77);
            fam_take(block, size, alignment);
            t_free(block);
        }
    }
}

static void old_aligned_names(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        void *block = t_memalign(alignment, 777);
        fam_take(block, 777, alignment < 16 ? 16 : alignment);
        t_free(block);
    }
    for (size_t size = 0; size < 3 * MIB; size = size * 2 + 1) {
        void *block = t_valloc(size);
        fam_take(block, size, page);
        t_free(block);
        block = t_pvalloc(size);
        fam_take(block, (size + page - 1) & ~(page - 1), page);
        t_free(block);
    }
    FAM_CHECK_FAILS(t_memalign(64, FAM_ABOVE_MAX), ENOMEM);
    FAM_CHECK_FAILS(t_valloc(FAM_ABOVE_MAX), ENOMEM);
    FAM_CHECK_FAILS(t_valloc(SIZE_MAX), ENOMEM);
    FAM_CHECK_FAILS(t_pvalloc(SIZE_MAX), ENOMEM);
    FAM_CHECK_FAILS(t_pvalloc(SIZE_MAX - page), ENOMEM);
    FAM_CHECK_FAILS(t_pvalloc(FAM_ABOVE_MAX), ENOMEM);
    /* Alignments that are no powers of two: NULL with EINVAL, or (as older glibc did) the next
     * power of two. */
    static const size_t odd[] = {3, 24, 48, 100, 3000};
    for (size_t i = 0; i < TEST_COUNT(odd); i++) {
        size_t rounded = 1;
        while (rounded < odd[i])
            rounded *= 2;
        for (int which = 0; which < 2; which++) {
            errno = 0;
            void *block = which == 0 ? t_memalign(odd[i], 500) : t_aligned_alloc(odd[i], 500);
            if (block == NULL)
                CHECK(errno == EINVAL);
            CHECK(test_is_aligned(block, rounded));
            t_free(block);
        }
    }
    t_cfree(t_malloc(100));
    t_cfree(NULL);
}

/* The information functions answer, and with figures that fit. */
static void information(void)
{
    struct mallinfo2 before = mallinfo2();
    void *block = t_malloc(24 * MIB), *larger = t_malloc(40 * MIB); /* this a direct mapping */
    CHECK(block != NULL && larger != NULL);
    struct mallinfo2 info = mallinfo2();
    size_t more = info.uordblks + info.hblkhd - before.uordblks - before.hblkhd;
    CHECKF(more >= 64 * MIB && more < 68 * MIB, " (%zu)", more);
    CHECK(info.hblkhd >= before.hblkhd + 40 * MIB);
    CHECK(info.arena == info.uordblks + info.fordblks);
    t_free(larger);
    struct mallinfo2 without = mallinfo2();
    CHECK(without.hblkhd + 40 * MIB <= info.hblkhd);
    CHECK(without.arena == without.uordblks + without.fordblks);
    if (getenv("HAKMEM_HARDEN") == NULL) /* kept for reuse: neither in use nor gone */
        CHECK(without.fordblks >= 40 * MIB);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    struct mallinfo old = mallinfo();
    CHECK((size_t)(unsigned)old.uordblks + (size_t)(unsigned)old.hblkhd >= 24 * MIB);
#pragma GCC diagnostic pop
    t_free(block);
    struct mallinfo2 later = mallinfo2();
    CHECK(later.uordblks + later.hblkhd + 60 * MIB <= info.uordblks + info.hblkhd);

    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream != NULL);
    CHECK(malloc_info(0, stream) == 0);
    CHECK(fclose(stream) == 0);
    CHECK(length > 0 && strstr(text, "<malloc") != NULL && strstr(text, "</malloc>") != NULL);
    t_free(text);
    stream = fopen("/dev/null", "w");
    CHECK(stream != NULL);
    CHECK(malloc_info(1, stream) != 0); /* options must be 0 */
    fclose(stream);

    /* malloc_stats writes to stderr and nowhere else. */
    int kept = dup(2);
    char path[] = "/tmp/hakmem-stats-XXXXXX";
    int fd = mkstemp(path);
    CHECK(kept >= 0 && fd >= 0);
    unlink(path);
    fflush(stderr);
    CHECK(dup2(fd, 2) == 2);
    malloc_stats();
    fflush(stderr);
    CHECK(dup2(kept, 2) == 2);
    CHECK(lseek(fd, 0, SEEK_END) > 0);
    close(fd);
    close(kept);

    /* 1 is success: what glibc accepts is accepted, be it without effect. */
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
    CHECK(mallopt(M_ARENA_MAX, 2) == 1);
    int trimmed = malloc_trim(0);
    CHECK(trimmed == 0 || trimmed == 1);
}

int main(void)
{
    test_require_preload();
    t_names_init();
    origins();
    libc_callers();
    posix_memalign_semantics();
    old_aligned_names();
    information();
    fam_all();
    CHECK(t_check() == 0);
    puts("libc_family: ok");
    return 0;
}
