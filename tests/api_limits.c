/*
 * The limits as a program sets them while it runs.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include <sys/mman.h>

enum { BLOCKS = 1 << 16 };

static void *blocks[BLOCKS];
static char said[4096]; /* on stderr, by the last call of listen */

/* Calls set with stderr turned aside. */
static int listen(int (*set)(hak_limit_t, size_t), hak_limit_t limit, size_t value)
{
    int saved = dup(2);
    int file = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(saved >= 0 && file >= 0 && dup2(file, 2) == 2);
    int result = set(limit, value);
    CHECK(dup2(saved, 2) == 2);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    CHECK(got >= 0);
    said[got] = '\0';
    CHECK(close(file) == 0 && close(saved) == 0);
    return result;
}

static int set_share(hak_limit_t limit, size_t percent)
{
    return hak_limit_set_share(limit, (unsigned)percent);
}

/* Takes blocks of the size behind the first ones until there is no memory; returns how many there
 * are then. */
static size_t fill_on(size_t count, size_t size)
{
    while (count < BLOCKS && (blocks[count] = hak_malloc(size)) != NULL) {
        test_fill(blocks[count], size, count);
        count++;
    }
    return count;
}

static size_t fill(size_t size)
{
    return fill_on(0, size);
}

static void clear(size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        CHECK_PATTERN(blocks[i], size, size, i);
        hak_free(blocks[i]);
    }
}

static void check_arguments(void)
{
    CHECK(hak_limit_get(HAK_LIMIT_HARD) == 0 && hak_limit_get(HAK_LIMIT_SOFT) == 0);
    CHECK(hak_limit_get((hak_limit_t)2) == 0 && hak_limit_set((hak_limit_t)2, 1) == EINVAL);
    CHECK(set_share(HAK_LIMIT_HARD, 0) == EINVAL && set_share(HAK_LIMIT_HARD, 101) == EINVAL);
    CHECK(hak_limit_get(HAK_LIMIT_HARD) == 0);
    CHECK(listen(set_share, HAK_LIMIT_SOFT, 100) == 0);
    size_t whole = hak_limit_get(HAK_LIMIT_SOFT);
    CHECKF(said[0] == '\0' || strncmp(said, "hakmem: no cgroup memory limit: ", 32) == 0, " ('%s')",
           said);
    CHECK(listen(set_share, HAK_LIMIT_SOFT, 10) == 0);
    CHECKF(hak_limit_get(HAK_LIMIT_SOFT) / 10 <= whole / 100 + 1 && whole > 16 * MIB, " (%zu)",
           whole);
    CHECK(hak_limit_set(HAK_LIMIT_SOFT, 0) == 0 && hak_limit_get(HAK_LIMIT_SOFT) == 0);
}

/* Below what is in use: a line, nothing lost, nothing granted, and once enough is freed all is as
 * before. */
static void check_below(void)
{
    static const size_t size = 60000;
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed() + 64 * MIB) == 0);
    size_t count = fill(size);
    CHECK(count > 500 && count < BLOCKS);
    CHECK(listen(hak_limit_set, HAK_LIMIT_HARD, 16 * MIB) == 0);
    CHECKF(strncmp(said,
                   "hakmem: the limit is below what is in use: nothing more is granted before ",
                   74) == 0,
           " ('%s')", said);
    CHECK(strchr(said, '\n') == said + strlen(said) - 1);
    for (int i = 0; i < 10; i++) {
        errno = 0;
        CHECK(hak_malloc(MIB) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(hak_calloc(3, MIB) == NULL && errno == ENOMEM);
    }
    void *same = hak_realloc(blocks[0], size / 2 + 1);
    CHECK(same != NULL);
    blocks[0] = same;
    CHECK_PATTERN(same, size / 2, size, 0);
    hak_free(same);
    for (size_t i = 1; i < count; i++) {
        CHECK_PATTERN(blocks[i], size, size, i);
        hak_free(blocks[i]);
    }
    CHECK(hak_check() == 0);
    void *block = hak_malloc(8 * MIB);
    CHECK(block != NULL && hak_limit_committed() <= 16 * MIB);
    hak_free(block);
    CHECK(listen(hak_limit_set, HAK_LIMIT_HARD, 16 * MIB) == 0 && said[0] == '\0');
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
}

/* The reserve: refused, released, used; set aside again with the limit. */
static void check_reserve(void)
{
    size_t limit = hak_limit_committed() + 32 * MIB;
    CHECK(hak_limit_set(HAK_LIMIT_HARD, limit) == 0 && hak_limit_get(HAK_LIMIT_HARD) == limit);
    size_t count = fill(30000);
    CHECK(count > 0 && count < BLOCKS && hak_limit_committed() <= limit);
    size_t reserve = hak_limit_release_reserve();
    CHECK(reserve > 0 && hak_limit_release_reserve() == 0);
    CHECK(hak_limit_committed() + reserve <= limit);
    void *unwind = hak_malloc(reserve / 2);
    CHECK(unwind != NULL && hak_limit_committed() <= limit);
    hak_free(unwind);
    clear(count, 30000);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, limit) == 0 && hak_limit_release_reserve() == reserve);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0 && hak_limit_release_reserve() == 0);
}

/* A first-class heap counts like the others, and gives back what it counted. */
static void check_heaps(void)
{
    size_t before = hak_limit_committed();
    CHECK(hak_limit_set(HAK_LIMIT_HARD, before + 16 * MIB) == 0);
    for (int round = 0; round < 4; round++) {
        hak_heap_t *heap = hak_heap_create();
        CHECK(heap != NULL);
        size_t bytes = 0;
        while (hak_heap_malloc(heap, 10000) != NULL)
            bytes += 10000;
        CHECK(errno == ENOMEM && bytes > 12 * MIB && hak_limit_committed() <= before + 16 * MIB);
        CHECK(hak_check() == 0);
        hak_heap_destroy(heap);
    }
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    CHECKF(hak_limit_committed() <= before + MIB, " (%zu, %zu)", before, hak_limit_committed());
}

/* What threads' heaps have free is reclaimed for a first-class heap too, before it is refused
 * anything. */
static void check_heap_reclaims(void)
{
    (void)hak_trim(0);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed() + 64 * MIB) == 0);
    size_t count = fill(40000);
    CHECK(count > 1000 && count < BLOCKS);
    clear(count, 40000);
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    size_t bytes = 0;
    while (bytes < 40 * MIB && hak_heap_malloc(heap, 2000) != NULL)
        bytes += 2000;
    CHECKF(bytes >= 40 * MIB, " (%zu)", bytes);
    hak_heap_destroy(heap);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
}

/* A block may grow where it is though there is no place for it and its copy. */
static void check_grows_in_place(void)
{
    enum { MUCH = 10 * MIB, MORE = 24 * MIB, SMALL = 2000 };
    char *block = hak_realloc(hak_malloc(MORE), MUCH); /* it leaves pages behind itself */
    CHECK(block != NULL);
    test_fill(block, MUCH, 1);
    size_t count = 0;
    while (count < BLOCKS && count * SMALL < 18 * MIB)
        CHECK((blocks[count++] = hak_malloc(SMALL)) != NULL);
    (void)hak_trim(0);
    for (size_t i = 0; i < count; i++) {
        memset(blocks[i], 1, SMALL);
        hak_free(blocks[i]);
    }
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed()) == 0);
    char *grown = hak_realloc(block, MORE);
    CHECK(grown != NULL);
    CHECK_PATTERN(grown, MUCH, MUCH, 1);
    hak_free(grown);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
}

/* A block that realloc cannot make smaller, as there is no place for the smaller one, stays what it
 * was, or with hardening at least where it was; it is freed by the size that was asked for last.
 * With time HAKMEM finds something to give back, so one of a few blocks has to stay. */
static void check_unshrunk(void)
{
    enum { SMALLER = 300, SIZES = 3, TRIES = 4 };
    static const size_t sizes[SIZES] = {40000, 100000, 3000000};
    char *large[SIZES][TRIES];
    bool hardened = getenv("HAKMEM_HARDEN") != NULL;
    for (size_t i = 0; i < SIZES * TRIES; i++)
        CHECK((large[i / TRIES][i % TRIES] = hak_malloc(sizes[i / TRIES])) != NULL);
    (void)hak_trim(0);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed()) == 0);
    size_t count = 0;
    for (size_t i = 0; i < SIZES; i++) {
        bool stayed = false;
        for (size_t try = 0; try < TRIES; try++) {
            count = fill_on(count, SMALLER);
            CHECK(count < BLOCKS);
            char *same = hak_realloc(large[i][try], SMALLER);
            CHECK(same != NULL);
            if (same == large[i][try]) {
                stayed = true;
                CHECK(hak_usable_size(same) >= (hardened ? SMALLER : sizes[i]));
            }
            large[i][try] = same;
        }
        CHECKF(stayed, " (%zu bytes)", sizes[i]);
    }
    for (size_t i = 0; i < SIZES * TRIES; i++)
        hak_free_sized(large[i / TRIES][i % TRIES], SMALLER);
    clear(count, SMALLER);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
}

static pthread_barrier_t filled, allocated;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *allocate_first(void *argument)
{
    (void)pthread_barrier_wait(&filled);
    CHECK(pthread_mutex_lock(&turn) ==
          0); /* what one has reclaimed and not yet given up is nobody's */
    void *first = hak_malloc(100);
    CHECK(pthread_mutex_unlock(&turn) == 0);
    CHECK(first != NULL);
    (void)pthread_barrier_wait(&allocated); /* nobody has had memory reclaimed for another reason */
    CHECK(pthread_mutex_lock(&turn) == 0);
    void *span = hak_malloc(72 * KIB);
    CHECK(pthread_mutex_unlock(&turn) == 0);
    CHECK(span != NULL);
    hak_free(first);
    hak_free(span);
    return argument;
}

/* A thread's first call, when what others have freed takes up all that the limit allows and the
 * allocator needs memory for the thread itself. */
static void check_new_threads(void)
{
    enum { NEW_THREADS = 16, HEAPS_MOST = 1024 };
    pthread_t threads[NEW_THREADS];
    CHECK(pthread_barrier_init(&filled, NULL, NEW_THREADS + 1) == 0);
    CHECK(pthread_barrier_init(&allocated, NULL, NEW_THREADS) == 0);
    for (size_t i = 0; i < NEW_THREADS; i++)
        threads[i] = test_thread(allocate_first, NULL);
    size_t count = fill(8 * KIB);
    clear(count, 8 * KIB);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed()) == 0);
    static hak_heap_t *heaps[HEAPS_MOST]; /* use up what the allocator has for itself */
    size_t heap_count = 0;
    while (heap_count < HEAPS_MOST && (heaps[heap_count] = hak_heap_create()) != NULL)
        heap_count++;
    CHECK(heap_count < HEAPS_MOST);
    (void)pthread_barrier_wait(&filled);
    for (size_t i = 0; i < NEW_THREADS; i++)
        test_join(threads[i]);
    for (size_t i = 0; i < heap_count; i++)
        hak_heap_destroy(heaps[i]);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
}

static size_t notified;

static void notify(size_t committed_bytes, size_t limit_bytes)
{
    CHECK(committed_bytes > limit_bytes);
    notified++;
}

static void check_callback(void)
{
    hak_limit_notify(notify);
    (void)hak_trim(0);
    CHECK(hak_limit_set(HAK_LIMIT_SOFT, hak_limit_committed() + 16 * MIB) == 0);
    size_t count = 0;
    while (count < BLOCKS && notified == 0) {
        blocks[count] = hak_malloc(20000);
        CHECK(blocks[count] != NULL);
        count++;
    }
    CHECKF(notified == 1 && count * 20000 >= 10 * MIB && count * 20000 <= 20 * MIB, " (%zu)",
           count);
    void *large = hak_malloc(10 * MIB);
    CHECK(large != NULL && notified == 2);
    large = hak_realloc(large, 20 * MIB);
    CHECK(large != NULL && notified == 3);
    hak_limit_notify(NULL);
    large = hak_realloc(large, 40 * MIB);
    CHECK(large != NULL && notified == 3);
    hak_free(large);
    while (count > 0)
        hak_free(blocks[--count]);
    CHECK(hak_limit_set(HAK_LIMIT_SOFT, 0) == 0);
}

int main(void)
{
    check_arguments();
    check_below();
    check_reserve();
    check_heaps();
    check_heap_reclaims();
    check_callback();
    check_unshrunk();
    check_grows_in_place();
    check_new_threads();
    CHECK(hak_check() == 0);
    return 0;
}
