/*
 * A class that a thread no longer uses gives its magazines back when an epoch ends, by time or, if
 * slabs are sparse, by growth.  A class that is in use keeps them.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "cache.h"
#include "fake_os.h"
#include "policy.h"
#include "thread.h"

enum {
    IDLE_BYTES = 256,
    BUSY_BYTES = 1024,
    OTHER_BYTES = 512,
    BLOCKS = 1000,
    ROUNDS = 20, /* so that both classes have magazines of their largest kind */
    GROWTH_BYTES = 12 * HK_EPOCH_UNITS * HK_UNIT_BYTES,
    EPOCHS = 4,
    LARGE_BYTES = 3 << 20,
    SPARSE_BYTES = 2048, /* 32 in a slab */
    SPARSE_COUNT = 8192,
    SPARSE_KEPT = 16, /* one in so many */
};

static size_t cached(size_t size)
{
    return hk_cache_count(hk_thread_own, hk_class_of(size));
}

static void allocate_and_free(size_t size)
{
    static void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = hak_malloc(size)) != NULL);
    for (int i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
}

static void stock(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        allocate_and_free(IDLE_BYTES);
        allocate_and_free(BUSY_BYTES);
    }
    CHECK(cached(IDLE_BYTES) > 0 && cached(BUSY_BYTES) > 0);
}

/* The busy class loses a block for each slab or so that the process grows by. */
static void grow(void)
{
    for (int bytes = 0; bytes < GROWTH_BYTES; bytes += OTHER_BYTES) {
        CHECK(hak_malloc(OTHER_BYTES) != NULL);
        if (bytes % HK_UNIT_BYTES == 0)
            CHECK(hak_malloc(BUSY_BYTES) != NULL);
    }
}

/* Leaves 16 MiB of slabs with two blocks in each. */
static void make_sparse(void)
{
    static void *blocks[SPARSE_COUNT];
    for (int i = 0; i < SPARSE_COUNT; i++)
        CHECK((blocks[i] = hak_malloc(SPARSE_BYTES)) != NULL);
    for (int i = 0; i < SPARSE_COUNT; i++) {
        if (i % SPARSE_KEPT != 0)
            hak_free(blocks[i]);
    }
}

static void wait_and_call(void)
{
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        fake_os_advance(HK_DECAY_MS);
        allocate_and_free(OTHER_BYTES); /* on slow paths, now and then */
        CHECK(hak_malloc(BUSY_BYTES) != NULL);
    }
}

/* The busy class's magazines have as many blocks when each epoch ends, but others. */
static void replace(void)
{
    char *held = hak_malloc(BUSY_BYTES);
    CHECK(held != NULL);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        fake_os_advance(HK_DECAY_MS);
        char *next = hak_malloc(BUSY_BYTES);
        CHECK(next != NULL);
        hak_free(held);
        held = next;
        void *large = hak_malloc(LARGE_BYTES); /* a slow path, and no slab */
        CHECK(large != NULL);
        hak_free(large);
        CHECK(cached(BUSY_BYTES) > 0);
    }
    hak_free(held);
}

/* Temporaries that are freed in reverse leave each class with the block on top that it had, and a
 * heap that has little else is sparse: its magazines stay all the same. */
static void serve(unsigned requests, test_rng_t *rng)
{
    enum { TEMPORARIES = 8, STRINGS = 4 };
    void *blocks[TEMPORARIES];
    for (unsigned i = 0; i < requests; i++) {
        for (int n = 0; n < TEMPORARIES; n++) {
            size_t size = n < STRINGS ? 100 + test_below(rng, 900) : 1000 + test_below(rng, 20000);
            CHECK((blocks[n] = hak_malloc(size)) != NULL);
        }
        for (int n = TEMPORARIES; n-- > 0;)
            hak_free(blocks[n]);
    }
}

static void serve_requests(void)
{
    enum { WARM = 5000, REQUESTS = 20000 };
    test_rng_t rng = test_rng(3);
    serve(WARM, &rng);
    uint32_t before = hk_thread_own->heap->acquires;
    serve(REQUESTS, &rng);
    uint32_t slabs = hk_thread_own->heap->acquires - before;
    CHECKF(slabs <= REQUESTS / 100, " (%u)", slabs);
}

int main(void)
{
    serve_requests();
    stock();
    grow();
    CHECK(cached(IDLE_BYTES) > 0);
    make_sparse();
    stock();
    grow();
    CHECKF(cached(IDLE_BYTES) == 0, " (%zu)", cached(IDLE_BYTES));
    CHECK(cached(BUSY_BYTES) > 0);

    stock();
    wait_and_call();
    CHECKF(cached(IDLE_BYTES) == 0, " (%zu)", cached(IDLE_BYTES));
    CHECK(cached(BUSY_BYTES) > 0);

    stock();
    replace();

    allocate_and_free(IDLE_BYTES);
    CHECK(hak_check() == 0);
    return 0;
}
