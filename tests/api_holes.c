/*
 * Few blocks that live long keep slabs, but not their pages: what lies between them goes back by
 * hak_trim, by time and at a peak; the survivors keep their content, and the free blocks serve
 * again.
 */
#include "test.h"
#include "stats_now.h"

#include <hakmem/hakmem.h>
#include <time.h>

enum { TOTAL = 48 << 20, BLOCKS_MOST = 1 << 20 };

static char *blocks[BLOCKS_MOST];
static size_t count, kept_every;

static void fill(size_t size, size_t step)
{
    for (size_t i = 0; i < count; i += step) {
        CHECK((blocks[i] = hak_malloc(size)) != NULL);
        memset(blocks[i], (int)(i % 251), size);
    }
}

/* Leaves one block in so many. */
static void thin_out(size_t size, size_t every)
{
    kept_every = every;
    count = TOTAL / size;
    CHECK(count <= BLOCKS_MOST);
    fill(size, 1);
    for (size_t i = 0; i < count; i++)
        if (i % every != 0)
            hak_free(blocks[i]);
}

static void check_survivors(size_t size)
{
    for (size_t i = 0; i < count; i += kept_every)
        for (size_t at = 0; at < size; at++)
            CHECKF(blocks[i][at] == (char)(i % 251), " (block %zu of %zu bytes, at %zu)", i, size,
                   at);
}

static void free_survivors(void)
{
    for (size_t i = 0; i < count; i += kept_every)
        hak_free(blocks[i]);
}

/* All that was freed serves again, and calloc's is zero. */
static void use_again(size_t size)
{
    size_t more = count / 2;
    char **again = calloc(more, sizeof *again);
    CHECK(again != NULL);
    for (size_t i = 0; i < more; i++) {
        CHECK((again[i] = hak_calloc(1, size)) != NULL);
        for (size_t at = 0; at < size; at += 7)
            CHECK(again[i][at] == 0);
        memset(again[i], 0x5a, size);
    }
    check_survivors(size);
    CHECK(hak_check() == 0);
    for (size_t i = 0; i < more; i++)
        hak_free(again[i]);
    free(again);
}

static void trimmed(size_t size, size_t every, size_t most)
{
    thin_out(size, every);
    (void)hak_trim(0);
    hak_stats_t after = stats_now();
    CHECKF(after.hole_bytes > TOTAL / 2, " (%zu bytes: %zu)", size, (size_t)after.hole_bytes);
    CHECKF(after.slab_free_resident_bytes < most, " (%zu bytes: %zu)", size,
           (size_t)after.slab_free_resident_bytes);
    CHECK(hak_check() == 0);
    check_survivors(size);
    use_again(size);
    CHECK(stats_now().hole_bytes < after.hole_bytes); /* such as are in use are none */
    free_survivors();
    (void)hak_trim(0);
    CHECK(stats_now().hole_bytes == 0);
}

enum { EPOCH_MS = 250 };

static uint64_t clock_ms(void)
{
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0); /* the library's */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A thread that allocates something else now and then; it need not trim.  Returns after how many ms
 * the first holes were seen. */
static uint64_t by_time(size_t size, size_t every, size_t wanted)
{
    uint64_t start_ms = clock_ms(), first_ms = 0;
    thin_out(size, every);
    struct timespec pause = {.tv_nsec = 10000000};
    int rounds = 0;
    do {
        CHECKF(++rounds < 3000, " (%zu bytes are holes)", (size_t)stats_now().hole_bytes);
        CHECK(nanosleep(&pause, NULL) == 0);
        void *other = hak_malloc(100000);
        CHECK(other != NULL);
        hak_free(other);
        if (first_ms == 0 && stats_now().hole_bytes > 0)
            first_ms = clock_ms() - start_ms;
    } while (stats_now().hole_bytes < wanted);
    check_survivors(size);
    CHECK(hak_check() == 0);
    free_survivors();
    return first_ms;
}

/* Half of each slab is in use.  Its free blocks may be wanted again soon, so an epoch passes in
 * which they could be, after the one in which they were free. */
static void by_more_time(void)
{
    (void)hak_trim(0);
    uint64_t first_ms = by_time(8192, 2, TOTAL / 3);
    CHECKF(first_ms >= 2 * EPOCH_MS, " (%u ms)", (unsigned)first_ms);
}

/* The process grows with other sizes: what lies between the survivors makes way. */
static void at_a_peak(void)
{
    enum { SIZE = 6000, OTHER = 700, OTHERS = TOTAL / OTHER };
    static char *others[OTHERS];
    (void)hak_trim(0);
    thin_out(SIZE, 10);
    for (size_t i = 0; i < OTHERS; i++) {
        CHECK((others[i] = hak_malloc(OTHER)) != NULL);
        memset(others[i], 1, OTHER);
    }
    CHECKF(stats_now().hole_bytes > TOTAL / 4, " (%zu)", (size_t)stats_now().hole_bytes);
    check_survivors(SIZE);
    for (size_t i = 0; i < OTHERS; i++)
        hak_free(others[i]);
    free_survivors();
    CHECK(hak_check() == 0);
}

/* A limit counts holes, so they are of no help to who fails at it, and a failure need not look
 * through all slabs. */
static void not_by_failing(void)
{
    (void)hak_trim(0);
    thin_out(600, 50);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, hak_limit_committed() + (1 << 20)) == 0);
    uint64_t before = stats_now().hole_bytes;
    CHECK(hak_malloc(2 * (size_t)TOTAL) == NULL);
    CHECK(stats_now().hole_bytes == before);
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    free_survivors();
}

int main(void)
{
    not_by_failing();
    at_a_peak();
    trimmed(600, 50, TOTAL / 4);
    trimmed(5000, 10, TOTAL / 8);
    trimmed(8192, 4, TOTAL / 16);
    trimmed(20000, 3, TOTAL / 8);
    (void)by_time(5000, 10, TOTAL / 2);
    by_more_time();
    return 0;
}
