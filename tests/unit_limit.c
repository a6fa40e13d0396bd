/*
 * The limits, where they are counted: what is committed follows what the heap really takes, the
 * hard limit holds exactly at every moment, and once it has refused something nothing is lost.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "limit.h"
#include "policy.h"
#include "run.h"

enum { BLOCKS = 4096, THREADS = 4 };

static void *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static void check_counting(void)
{
    size_t before = hk_limit_committed_bytes();
    CHECK(hk_limit_charge(0) && hk_limit_charge(1000));
    CHECK(hk_limit_committed_bytes() == before + 1000);
    hk_limit_set(HK_LIMIT_HARD, before + 1000); /* met: nothing more, but nothing is something */
    CHECK(hk_limit_release_reserve() > 0 && hk_limit_release_reserve() == 0);
    CHECK(hk_limit_charge(0) && hk_limit_allows(0));
    CHECK(!hk_limit_charge(1) && !hk_limit_allows(1) && !hk_limit_charge(SIZE_MAX));
    CHECK(hk_limit_committed_bytes() == before + 1000);
    hk_limit_charge_always(5);
    CHECK(hk_limit_committed_bytes() == before + 1005 && hk_limit_charge(0));
    hk_limit_uncharge(6);
    CHECK(!hk_limit_charge(2) && hk_limit_charge(1));
    hk_limit_uncharge(1000);
    hk_limit_set(HK_LIMIT_HARD, 1); /* below what there is: refused, not wrapped */
    CHECK(before < 2 || (!hk_limit_charge(1) && !hk_limit_allows(1)));
    hk_limit_set(HK_LIMIT_HARD, 0);
    CHECK(hk_limit_charge(SIZE_MAX / 2) && hk_limit_committed_bytes() == before + SIZE_MAX / 2);
    hk_limit_uncharge(SIZE_MAX / 2);
    CHECK(hk_limit_committed_bytes() == before);
}

static void check_soft(void)
{
    size_t before = hk_limit_committed_bytes();
    size_t soft = before + 16 * MIB;
    hk_limit_set(HK_LIMIT_SOFT, soft);
    CHECK(hk_limit_charge(16 * MIB) && !hk_limit_take_pressure() && !hk_limit_is_exceeded());
    CHECK(hk_limit_charge(1) && hk_limit_take_pressure() && !hk_limit_take_pressure());
    CHECK(hk_limit_is_exceeded());
    hk_limit_settle();
    /* The next pressure has to be paid for by growth. */
    CHECK(hk_limit_charge(soft / 16) && !hk_limit_take_pressure());
    CHECK(hk_limit_charge(1) && hk_limit_take_pressure());
    hk_limit_settle();
    CHECK(hk_limit_is_exceeded());
    /* Once it is relieved, the limit itself counts again. */
    hk_limit_uncharge(soft / 16 + soft / 16 + 2);
    CHECK(!hk_limit_is_exceeded());
    CHECK(hk_limit_charge(soft / 16 + 1) && hk_limit_take_pressure());
    hk_limit_uncharge(16 * MIB + 1);
    hk_limit_set(HK_LIMIT_SOFT, 0);
    CHECK(hk_limit_charge(64 * MIB) && !hk_limit_take_pressure() && !hk_limit_is_exceeded());
    hk_limit_settle();
    hk_limit_uncharge(64 * MIB);
    CHECK(hk_limit_committed_bytes() == before);
    if (before > 0) { /* set below what is in use: pressure at once */
        hk_limit_set(HK_LIMIT_SOFT, 1);
        CHECK(hk_limit_take_pressure());
        hk_limit_set(HK_LIMIT_SOFT, 0);
    }
}

static void check_policy(void)
{
    for (unsigned shift = 0; shift < 50; shift++) {
        size_t hard = (size_t)1 << shift;
        size_t reserve = hk_policy_reserve_bytes(hard);
        CHECKF(reserve <= hard / 4 && reserve <= 8 * MIB, " (%zu of %zu)", reserve, hard);
        CHECKF(hk_policy_press_above(0, hard) == hard, " (%zu)", hard);
        CHECKF(hk_policy_press_above(hard, hard) >= hard, " (%zu)", hard);
        CHECKF(hk_policy_press_above(2 * hard, hard) - 2 * hard == hard / 16, " (%zu)", hard);
        CHECKF(hk_policy_is_relieved(0, hard) && !hk_policy_is_relieved(hard + 1, hard), " (%zu)",
               hard);
    }
}

/* The bytes counted are what the fake system has handed out, less the units of superslabs that were
 * never used or were purged. */
static void check_counted(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    size_t counted = hk_limit_committed_bytes();
    CHECKF(counted <= fake_os.mapped_bytes + 64 * KIB, " (%zu of %zu)", counted,
           (size_t)fake_os.mapped_bytes);
    uint64_t unused = stats.mapped_bytes - stats.committed_bytes;
    CHECKF(counted == fake_os.mapped_bytes - unused + 64 * KIB, " (%zu, mapped %zu, unused %zu)",
           counted, (size_t)fake_os.mapped_bytes, (size_t)unused);
}

static size_t random_size(test_rng_t *rng)
{
    switch (test_below(rng, 16)) {
    case 0: return test_below(rng, 6 * MIB);
    case 1: return test_below(rng, 300 * KIB);
    default: return test_log_size(rng, 13);
    }
}

/* Random work under a hard limit: it holds at each step, what is refused is refused with ENOMEM,
 * and blocks keep their content. */
static void check_work(size_t hard, test_rng_t *rng)
{
    size_t refused = 0;
    hk_limit_set(HK_LIMIT_HARD, hard);
    CHECK(hk_limit_release_reserve() > 0);
    for (int step = 0; step < 20000; step++) {
        size_t i = test_below(rng, BLOCKS);
        size_t size = random_size(rng) + 1;
        errno = 0;
        if (blocks[i] == NULL || test_below(rng, 3) == 0) {
            void *block = hak_realloc(blocks[i], size);
            if (block != NULL) {
                size_t kept = size < sizes[i] ? size : sizes[i];
                if (blocks[i] != NULL)
                    CHECK_PATTERN(block, kept, sizes[i], i);
                blocks[i] = block;
                sizes[i] = size;
                test_fill(block, size, i);
            } else {
                CHECK(errno == ENOMEM);
                refused++;
            }
        } else {
            CHECK_PATTERN(blocks[i], sizes[i], sizes[i], i);
            hak_free(blocks[i]);
            blocks[i] = NULL;
            sizes[i] = 0;
        }
        CHECKF(hk_limit_committed_bytes() <= hard, " (%zu above %zu)", hk_limit_committed_bytes(),
               hard);
        if (step % 1000 == 0)
            check_counted();
    }
    CHECK(refused > 0);
    CHECK(hak_check() == 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (blocks[i] != NULL)
            CHECK_PATTERN(blocks[i], sizes[i], sizes[i], i);
        hak_free(blocks[i]);
        blocks[i] = NULL;
        sizes[i] = 0;
    }
    /* It serves again, to the last: what was committed for small blocks serves large ones. */
    void *whole = hak_malloc(hard - hard / 4);
    CHECK(whole != NULL);
    hak_free(whole);
    hk_limit_set(HK_LIMIT_HARD, 0);
    CHECK(hak_trim(0) == 1);
    check_counted();
}

/* What is kept back is usable once it is released. */
static void check_reserve(void)
{
    size_t hard = hk_limit_committed_bytes() + 64 * MIB;
    hk_limit_set(HK_LIMIT_HARD, hard);
    size_t count = 0;
    while (count < BLOCKS && (blocks[count] = hak_malloc(100 * KIB)) != NULL)
        count++;
    CHECK(count > 0 && count < BLOCKS && errno == ENOMEM);
    size_t reserve = hk_limit_release_reserve();
    CHECK(reserve >= 2 * MIB && hk_limit_committed_bytes() <= hard - reserve);
    size_t more = 0;
    while (count < BLOCKS && (blocks[count] = hak_malloc(100 * KIB)) != NULL)
        count++, more++;
    CHECKF(more >= reserve / (2 * 100 * KIB), " (%zu)", more);
    CHECK(hk_limit_committed_bytes() <= hard);
    while (count > 0)
        hak_free(blocks[--count]);
    blocks[0] = NULL;
    hk_limit_set(HK_LIMIT_HARD, 0);
}

static void *hammer(void *argument)
{
    test_rng_t rng = test_rng((uint64_t)(uintptr_t)argument);
    void *mine[256] = {NULL};
    for (int step = 0; step < 20000; step++) {
        size_t i = test_below(&rng, TEST_COUNT(mine));
        hak_free(mine[i]);
        mine[i] = hak_malloc(random_size(&rng));
        size_t hard = hk_limit_get(HK_LIMIT_HARD);
        CHECK(hk_limit_committed_bytes() <= hard);
    }
    for (size_t i = 0; i < TEST_COUNT(mine); i++)
        hak_free(mine[i]);
    return NULL;
}

static void check_threads(void)
{
    fake_os.main_thread = false; /* the threads end like others */
    hk_limit_set(HK_LIMIT_HARD, hk_limit_committed_bytes() + 32 * MIB);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(hammer, (void *)(i + 1));
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    hk_limit_set(HK_LIMIT_HARD, 0);
    CHECK(hak_check() == 0);
    (void)hak_trim(0);
    check_counted();
}

static size_t notified;

static void notify(size_t committed_bytes, size_t limit_bytes)
{
    CHECK(committed_bytes > limit_bytes && limit_bytes == hk_limit_get(HK_LIMIT_SOFT));
    notified++;
    void *block = hak_malloc(3 * MIB); /* allowed, and does not call again */
    CHECK(block != NULL);
    hak_free(block);
    errno = 4321;
}

/* Beyond the soft limit free memory is reclaimed, and only what is live brings the callback. */
static void check_callback(void)
{
    (void)hak_trim(0);
    size_t soft = hk_limit_committed_bytes() + 32 * MIB;
    hk_limit_set(HK_LIMIT_SOFT, soft);
    hk_limit_set(HK_LIMIT_HARD, 0);
    hak_limit_notify(notify);
    for (int round = 0; round < 20; round++) { /* 20 MiB live, in another size each time */
        size_t size = (size_t)1000 << round % 8;
        size_t count = 20 * MIB / size < BLOCKS ? 20 * MIB / size : BLOCKS;
        for (size_t i = 0; i < count; i++)
            CHECK((blocks[i] = hak_malloc(size)) != NULL);
        for (size_t i = 0; i < count; i++)
            hak_free(blocks[i]);
    }
    CHECKF(notified == 0, " (%zu)", notified);
    errno = 1234;
    for (size_t i = 0; i < 64; i++)
        CHECK((blocks[i] = hak_malloc(MIB)) != NULL);
    CHECK(errno == 1234);
    CHECKF(notified >= 2 && notified <= 20, " (%zu)", notified);
    for (size_t i = 0; i < 64; i++)
        hak_free(blocks[i]);
    hak_limit_notify(NULL);
    hk_limit_set(HK_LIMIT_SOFT, 0);
}

static atomic_bool gone;

static void *leave_later(void *argument)
{
    usleep(5000);
    atomic_store(&gone, true);
    hk_limit_end_leaving();
    return argument;
}

static void wait_for_one(void)
{
    atomic_store(&gone, false);
    hk_limit_begin_leaving();
    pthread_t thread = test_thread(leave_later, NULL);
    hk_limit_wait_for_leaving();
    CHECK(atomic_load(&gone));
    test_join(thread);
}

static void *let_time_pass(void *argument)
{
    usleep(5000);
    fake_os_advance(1000);
    return argument;
}

/* What is leaving is waited for; what never is gone is forgotten, even if it is gone after all. */
static void check_leaving(void)
{
    hk_limit_wait_for_leaving();
    wait_for_one();
    hk_limit_begin_leaving();
    pthread_t thread = test_thread(let_time_pass, NULL);
    hk_limit_wait_for_leaving();
    test_join(thread);
    hk_limit_wait_for_leaving();
    wait_for_one();
    hk_limit_end_leaving();
    hk_limit_wait_for_leaving();
    wait_for_one();
}

static void refuse(void *block)
{
    CHECK(block == NULL && errno == ENOMEM);
    errno = 0;
}

/* What could not be had even if all were given back is refused, and nothing is given back for it.
 */
static void check_impossible(void)
{
    hak_heap_t *heap = hak_heap_create();
    void *block = hak_malloc(200 * KIB);
    CHECK(heap != NULL && block != NULL);
    hak_free(hak_malloc(3 * MIB));
    size_t warm = hk_run_warm_bytes();
    CHECK(warm >= 2 * MIB);
    for (int limited = 0; limited < 2; limited++) {
        size_t size = limited ? 200 * MIB : (size_t)1 << 62;
        CHECK(hak_limit_set(HAK_LIMIT_HARD, limited ? 100 * MIB : 0) == 0);
        refuse(hak_malloc(size));
        refuse(hak_calloc(2, size / 2));
        refuse(hak_realloc(block, size));
        refuse(hak_aligned_alloc(64, size));
        refuse(hak_heap_malloc(heap, size));
        refuse(hak_heap_realloc(heap, block, size));
        CHECK(hk_run_warm_bytes() >= warm);
    }
    CHECK(hak_limit_set(HAK_LIMIT_HARD, 0) == 0);
    hak_free(block);
    hak_heap_destroy(heap);
}

int main(void)
{
    check_policy();
    test_use_up_apart(hak_malloc, hak_free);
    (void)hak_trim(0);
    check_counting();
    check_soft();
    test_rng_t rng = test_rng(7);
    void *first = hak_malloc(1);
    CHECK(first != NULL);
    hak_free(first);
    check_counting();
    check_counted();
    check_work(24 * MIB, &rng);
    check_work(9 * MIB, &rng);
    check_reserve();
    check_threads();
    check_callback();
    check_leaving();
    check_impossible();
    CHECK(hak_check() == 0);
    return 0;
}
