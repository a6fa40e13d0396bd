/*
 * The ledger adds up: its lines to their sum, the sum to what the kernel counts, and what is live
 * to what this program holds.  The allocator's own data is a small part of it.
 *
 * At each stage of several workloads.  Everything is done through the hak_ names, so that a
 * sanitizer's build counts the same.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include <stdatomic.h>
#include <sys/mman.h>

#include "stats.h"

enum { BLOCKS = 600000, THREADS = 4, SLACK = 512 * 1024 };

/* Static and not HAKMEM's: a megabyte or two of the kernel's figure that is measured before, and
 * taken off. */
static void *blocks[BLOCKS];
static size_t held_bytes; /* the usable bytes of what is in blocks */
static size_t other_bytes;

/* The RSS of the mappings that have no name and no file: HAKMEM's, stacks of threads, and static
 * data. */
static size_t anonymous_bytes(void)
{
    char text[4096];
    size_t used = 0, rss = 0;
    bool unnamed = false;
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    for (ssize_t got; (got = read(fd, text + used, sizeof text - 1 - used)) > 0;) {
        used += (size_t)got;
        text[used] = '\0';
        char *line = text, *end;
        for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            unsigned long start, stop, inode;
            char name[2] = "";
            if (sscanf(line, "%lx-%lx %*s %*s %*s %lu %1s", &start, &stop, &inode, name) >= 3)
                unnamed = inode == 0 && name[0] == '\0';
            else if (unnamed && strncmp(line, "Rss:", 4) == 0)
                rss += strtoul(line + 4, NULL, 10) * KIB;
        }
        used = (size_t)(text + used - line);
        memmove(text, line, used);
    }
    close(fd);
    return rss;
}

static hak_stats_t take(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    uint64_t sum = 0;
#define X(field, sign, doc)                                                                        \
    CHECKF(stats.field <= UINT64_MAX / 2, " (%s: %llu)", #field, (unsigned long long)stats.field); \
    sum = sum sign stats.field;
    HK_LEDGER_TABLE(X)
#undef X
    CHECKF(sum == stats.resident_bytes, " (%llu, %llu)", (unsigned long long)sum,
           (unsigned long long)stats.resident_bytes);
    CHECK(stats.slab_free_resident_bytes <= stats.slab_free_bytes);
    CHECK(stats.large_cached_resident_bytes <= stats.large_cached_bytes);
    return stats;
}

/* Then a block's usable bytes are fewer than it has. */
static bool is_protected(void)
{
    return getenv("HAKMEM_HARDEN") != NULL || getenv("HAKMEM_GUARD_SAMPLE") != NULL;
}

/* Within 2 % of the kernel's figure; and what is live is what this program holds, but for a few
 * blocks of others. */
static hak_stats_t check(const char *stage)
{
    hak_stats_t stats = take();
    size_t live = stats.live_bytes;
    CHECKF(live + 1 >= held_bytes && (is_protected() || live <= held_bytes + SLACK),
           " (%s: %zu live, %zu held)", stage, live, held_bytes);
    if (!TEST_SANITIZED) { /* a sanitizer has anonymous memory of its own */
        size_t kernel = anonymous_bytes() - other_bytes;
        size_t ledger = stats.resident_bytes;
        size_t difference = kernel > ledger ? kernel - ledger : ledger - kernel;
        /* Hardening reads blocks that nobody wrote to: such pages are resident to mincore alone. */
        size_t slack = is_protected() ? kernel / 20 + MIB : kernel / 50 + 64 * KIB;
        CHECKF(difference <= slack, " (%s: kernel %zu KiB, ledger %zu KiB)", stage, kernel / KIB,
               ledger / KIB);
    }
    return stats;
}

static void allocate(size_t from, size_t to, size_t least, size_t spread, bool touch)
{
    test_rng_t rng = test_rng(from + least);
    for (size_t i = from; i < to; i++) {
        size_t size = least + test_below(&rng, spread);
        blocks[i] = hak_malloc(size);
        CHECK(blocks[i] != NULL);
        held_bytes += hak_usable_size(blocks[i]);
        if (touch)
            memset(blocks[i], 1, size);
    }
}

static void release(size_t i)
{
    if (blocks[i] != NULL) {
        held_bytes -= hak_usable_size(blocks[i]);
        hak_free(blocks[i]);
        blocks[i] = NULL;
    }
}

static void release_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        release(i);
}

/* At most 2 % of what is committed, while blocks are in use, and a chunk: so metadata grows, and
 * the last one may have just been begun.  It does not hold for blocks that are
 * free: magazines have 8 bytes for each in a depot, and metadata stays when other memory goes. */
static void check_metadata(const hak_stats_t *stats)
{
    enum { CHUNK_BYTES = 256 * KIB };
    CHECKF(is_protected() || stats->metadata_bytes <= stats->committed_bytes / 50 + CHUNK_BYTES,
           " (%llu KiB of %llu)", (unsigned long long)stats->metadata_bytes / KIB,
           (unsigned long long)stats->committed_bytes / KIB);
}

static void small_blocks(void)
{
    allocate(0, BLOCKS, 16, 500, true);
    hak_stats_t stats = check("small blocks, live");
    CHECK(stats.live_bytes > 150 * MIB && stats.resident_bytes > 150 * MIB);
    check_metadata(&stats);
    test_rng_t rng = test_rng(1);
    for (size_t i = 0; i < BLOCKS; i++)
        if (test_below(&rng, 3) != 0)
            release(i);
    stats = check("two thirds freed here and there");
    CHECK(stats.slab_free_resident_bytes + stats.depot_bytes > 50 * MIB);
    for (size_t i = 0; i < BLOCKS * 3 / 4; i++)
        release(i);
    check("most freed");
    (void)hak_trim(0);
    stats = check("trimmed");
    CHECK(stats.depot_bytes == 0 && stats.cache_bytes == 0 && stats.pool_warm_resident_bytes == 0);
    release_all();
    check("all freed");
}

/* In slabs that are empty, in the pool or still in the heap: nothing that live blocks hold back. */
static void emptied(void)
{
    for (int round = 0; round < 2; round++) {
        allocate(0, 10000, 4096, 1, true);
        release_all();
    }
    hak_stats_t stats = check("emptied");
    CHECKF(is_protected() || stats.slab_free_resident_bytes < 4 * MIB, " (%llu)",
           (unsigned long long)stats.slab_free_resident_bytes);
    CHECK(is_protected() || stats.pool_warm_resident_bytes > 30 * MIB);
}

static void medium_blocks(void)
{
    allocate(0, 20000, 1000, 15000, true);
    hak_stats_t stats = check("blocks of up to 16,000 bytes");
    check_metadata(&stats);
    for (size_t i = 0; i < 20000; i += 2)
        release(i);
    check("each second one freed");
    allocate(20000, 22000, 60000, 300000, true);
    stats = check("spans");
    check_metadata(&stats);
    for (size_t i = 20000; i < 22000; i += 3)
        release(i);
    check("spans freed");
    release_all();
    check("all freed");
}

/* What the system's thread does in a minute or more; how many it could. */
static size_t collapse_all(void)
{
    static bool seen[1 << 16];
    size_t collapsed = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        uintptr_t number = (uintptr_t)blocks[i] / (2 * MIB);
        bool *mark = &seen[number % TEST_COUNT(seen)];
        if (!*mark)
            collapsed += madvise((void *)(number * 2 * MIB), 2 * MIB, 25 /* MADV_COLLAPSE */) == 0;
        *mark = true;
    }
    return collapsed;
}

/* Superslabs that are full for some seconds are asked to be of huge pages, and what these fill up
 * is on a line of its own; such a superslab still gives a part of it back. */
static void huge_pages(void)
{
    if (getenv("HAKMEM_HARDEN") != NULL)
        return; /* such superslabs never are */
    allocate(0, BLOCKS, 16, 500, true);
    for (int i = 0; i < 350; i++) { /* 3.5 seconds and more */
        hak_free(hak_malloc(100000));
        usleep(10000);
    }
    hak_stats_t stats = check("full for three seconds");
    CHECKF(stats.huge_superslabs > 20, " (%llu)", (unsigned long long)stats.huge_superslabs);
    CHECK(stats.huge_refusals == 0 && stats.huge_superslabs <= stats.superslabs);
    size_t asked = stats.huge_superslabs, before = stats.resident_bytes;
    size_t collapsed = collapse_all();
    stats = check("of huge pages");
    uint64_t excess = stats.excess_bytes;
    CHECKF(excess >= collapsed * 48 * KIB, " (%llu, %zu collapsed)", (unsigned long long)excess,
           collapsed);
    for (size_t i = 0; i < BLOCKS; i++)
        if (((uintptr_t)blocks[i] & (2 * MIB - 1)) >= MIB)
            release(i);
    (void)hak_trim(0);
    stats = check("the upper halves freed and given back");
    CHECK(stats.huge_superslabs == 0);
    CHECKF(collapsed < asked || excess - stats.excess_bytes >= asked * 48 * KIB, " (%llu, %llu)",
           (unsigned long long)excess, (unsigned long long)stats.excess_bytes);
    CHECKF(stats.resident_bytes < before / 10 * 6, " (%zu, %zu)", (size_t)stats.resident_bytes,
           before);
    release_all();
    check("all freed");
    printf("%zu superslabs were asked, %zu collapsed\n", asked, collapsed);
}

/* What was never written to is not resident, and the ledger knows. */
static void untouched(void)
{
    allocate(0, 20000, 4000, 12000, false);
    allocate(20000, 20200, 200000, 200000, false);
    allocate(20200, 20210, 40 * MIB, MIB, false);
    hak_stats_t stats = check("not written to");
    CHECK(stats.untouched_bytes > 200 * MIB);
    for (size_t i = 20200; i < 20210; i++)
        memset(blocks[i], 1, 20 * MIB);
    stats = check("half of the large blocks written to");
    CHECK(stats.resident_bytes > 100 * MIB && stats.untouched_bytes > 100 * MIB);
    for (size_t i = 20200; i < 20210; i++)
        release(i);
    stats = check("large blocks freed and kept");
    CHECK(stats.large_cached_bytes == 0 || stats.large_cached_resident_bytes > 0);
    release_all();
    (void)hak_trim(0);
    check("trimmed");
}

static pthread_barrier_t barrier;

static void *worker(void *argument)
{
    size_t number = (size_t)(uintptr_t)argument;
    size_t part = BLOCKS / THREADS;
    test_rng_t rng = test_rng(number);
    for (size_t i = number * part; i < (number + 1) * part; i++) {
        size_t size = 16 + test_below(&rng, 400);
        blocks[i] = hak_malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, size);
    }
    for (size_t i = number * part; i < number * part + part / 8; i++) {
        hak_free(blocks[i]); /* so that the caches and depots have something */
        blocks[i] = NULL;
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* Idle threads with caches, and their blocks freed by another: in outgoing magazines, inboxes and
 * depots. */
static void threads(void)
{
    pthread_t all[THREADS];
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        all[i] = test_thread(worker, (void *)i);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < BLOCKS; i++)
        held_bytes += blocks[i] != NULL ? hak_usable_size(blocks[i]) : 0;
    hak_stats_t stats = check("four threads' blocks");
    CHECK(stats.cache_bytes > 0 && (is_protected() || stats.depot_bytes > 0));
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % 4 != 0)
            release(i);
    stats = check("freed by another thread");
    CHECK(is_protected() || stats.outgoing_bytes > 0);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < THREADS; i++)
        test_join(all[i]);
    check("the threads have ended");
    release_all();
    check("all freed");
}

static _Atomic bool stop;

/* Blocks go from thread to thread, so that all that the ledger reads is on the move. */
static void *churn(void *argument)
{
    static void *_Atomic shared[256];
    test_rng_t rng = test_rng((uint64_t)(uintptr_t)argument);
    while (!stop)
        hak_free(atomic_exchange(&shared[test_below(&rng, TEST_COUNT(shared))],
                                 hak_malloc(test_log_size(&rng, 16))));
    return NULL;
}

/* A walk while all threads are at work is less exact, and gets in nobody's way. */
static void at_work(void)
{
    pthread_t all[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        all[i] = test_thread(churn, (void *)(i + 1));
    for (int i = 0; i < 20; i++) {
        hak_stats_t stats;
        CHECK(hak_stats_get(&stats, sizeof stats) == 0);
        CHECK(stats.resident_bytes > 0 && stats.resident_bytes < 4096 * MIB);
    }
    stop = true;
    for (size_t i = 0; i < THREADS; i++)
        test_join(all[i]);
    held_bytes = (size_t)take().live_bytes; /* what the threads left behind */
    check("the threads at work have ended");
}

/* A heap of the program's own. */
static void owned_heap(void)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    test_rng_t rng = test_rng(3);
    for (size_t i = 0; i < BLOCKS / 4; i++) {
        size_t size = 16 + test_below(&rng, 1000);
        blocks[i] = hak_heap_malloc(heap, size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, size);
        held_bytes += hak_usable_size(blocks[i]);
    }
    check("a heap's blocks");
    for (size_t i = 0; i < BLOCKS / 4; i += 2)
        release(i);
    check("half freed");
    hak_heap_destroy(heap);
    memset(blocks, 0, sizeof blocks);
    held_bytes = 0;
    check("heap destroyed");
}

/* Whoever knows less of the structure gets less, and the ledger's walk is spared. */
static void versions(void)
{
    hak_stats_t stats;
    memset(&stats, 0xee, sizeof stats);
    CHECK(hak_stats_get(&stats, offsetof(hak_stats_t, live_bytes)) == 0);
    CHECK(stats.struct_bytes == sizeof stats && stats.mapped_bytes > 0);
    CHECK(test_is_filled_with(&stats.live_bytes, 0xee,
                              sizeof stats - offsetof(hak_stats_t, live_bytes)));
}

int main(void)
{
    memset(blocks, 1, sizeof blocks); /* resident, so that it stays the same */
    memset(blocks, 0, sizeof blocks);
    hak_free(hak_malloc(1));
    size_t own = take().resident_bytes;
    other_bytes = anonymous_bytes() - own;
    small_blocks();
    emptied();
    medium_blocks();
    huge_pages();
    untouched();
    threads();
    owned_heap();
    at_work();
    versions();
    CHECK(hak_check() == 0);
    return 0;
}
