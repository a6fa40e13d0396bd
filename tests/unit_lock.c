/*
 * The lock: the table's order, exclusion, and that ranks only rise.
 */
#include "test.h"

#include "lock.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "fake_os.h"

static const struct {
    hk_rank_t rank;
    const char *name;
    const char *protects;
} table[] = {
#define X(name, protects) {HK_RANK_##name, #name, protects},
    HK_LOCK_TABLE(X)
#undef X
};

/* Every pair of locks that one thread holds at once, the outer one first. */
static const hk_rank_t nestings[][2] = {
    {HK_RANK_CACHES, HK_RANK_HEAP}, {HK_RANK_CACHES, HK_RANK_META}, {HK_RANK_HEAP, HK_RANK_POOL},
    {HK_RANK_HEAP, HK_RANK_META},   {HK_RANK_CACHES, HK_RANK_POOL},
};

static void check_table(void)
{
    for (size_t i = 0; i < TEST_COUNT(table); i++) {
        CHECKF((size_t)table[i].rank == i, " (%s)", table[i].name);
        CHECKF(table[i].protects[0] != '\0', " (%s)", table[i].name);
    }
    CHECK(TEST_COUNT(table) <= 32); /* a bit for each rank */
    CHECK(table[TEST_COUNT(table) - 1].rank == HK_RANK_META);
    for (size_t i = 0; i < TEST_COUNT(nestings); i++)
        CHECKF(nestings[i][0] < nestings[i][1], " (nesting %zu)", i);
}

static hk_lock_t locks[TEST_COUNT(table)];

static void check_states(void)
{
    hk_lock_t lock = {0};
    CHECK(!hk_lock_is_held(&lock));
    hk_lock_acquire(&lock, HK_RANK_POOL);
    CHECK(hk_lock_is_held(&lock));
    CHECK(!hk_lock_try_acquire(&lock, HK_RANK_POOL)); /* fails, does not hang */
    CHECK(hk_lock_is_held(&lock));
    hk_lock_release(&lock, HK_RANK_POOL);
    CHECK(!hk_lock_is_held(&lock));
    CHECK(hk_lock_try_acquire(&lock, HK_RANK_POOL));
    CHECK(hk_lock_is_held(&lock));
    hk_lock_release(&lock, HK_RANK_POOL);
    lock.state = 2;
    hk_lock_reset(&lock);
    CHECK(!hk_lock_is_held(&lock));
    hk_lock_acquire(&lock, HK_RANK_POOL);
    hk_lock_release(&lock, HK_RANK_POOL);

    /* All of them in order, let go in any order, twice. */
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < TEST_COUNT(table); i++)
            hk_lock_acquire(&locks[i], table[i].rank);
        for (size_t i = 0; i < TEST_COUNT(table); i++)
            hk_lock_release(&locks[i], table[i].rank);
        for (size_t i = 0; i < TEST_COUNT(table); i++)
            CHECK(!hk_lock_is_held(&locks[i]));
    }
}

enum { THREADS = 4, ROUNDS = 20000 };

static hk_lock_t shared_lock;
static uint64_t shared_count; /* shared_lock */

static void *count_up(void *argument)
{
    bool tries = argument != NULL;
    for (int i = 0; i < ROUNDS; i++) {
        if (!tries || !hk_lock_try_acquire(&shared_lock, HK_RANK_HEAP))
            hk_lock_acquire(&shared_lock, HK_RANK_HEAP);
        uint64_t before = shared_count;
        if (i % 512 == 0)
            sched_yield(); /* lets the others run into the lock, and sleep */
        shared_count = before + 1;
        hk_lock_release(&shared_lock, HK_RANK_HEAP);
    }
    return NULL;
}

static void check_exclusion(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(count_up, i % 2 == 0 ? NULL : &shared_lock);
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    CHECK(shared_count == (uint64_t)THREADS * ROUNDS);
    CHECK(!hk_lock_is_held(&shared_lock));
}

/* ---- One of several places that would do ---- */

static _Atomic bool taken;

static void *hold_until_awaited(void *argument)
{
    hk_lock_t *lock = argument;
    hk_lock_acquire(lock, HK_RANK_POOL);
    taken = true;
    while (lock->state != 2) { /* until somebody sleeps */
    }
    hk_lock_release(lock, HK_RANK_POOL);
    return NULL;
}

/* Two sleeps among some hundred takings are enough to go elsewhere, one is not. */
static void check_strain(void)
{
    hk_lock_t lock = {0};
    uint32_t strain = 0;
    hk_lock_acquire_strained(&lock, HK_RANK_POOL, &strain);
    CHECK(strain == 0 && hk_lock_is_held(&lock));
    hk_lock_release(&lock, HK_RANK_POOL);
    for (int sleeps = 1; sleeps <= 2; sleeps++) {
        taken = false;
        pthread_t holder = test_thread(hold_until_awaited, &lock);
        while (!taken) {
        }
        hk_lock_acquire_strained(&lock, HK_RANK_POOL, &strain);
        hk_lock_release(&lock, HK_RANK_POOL);
        test_join(holder);
        CHECKF((strain >= HK_STRAIN_MAX) == (sleeps == 2), " (%u)", strain);
    }
    for (uint32_t before = strain; before > 0; before--) {
        hk_lock_acquire_strained(&lock, HK_RANK_POOL, &strain);
        hk_lock_release(&lock, HK_RANK_POOL);
        CHECK(strain == before - 1);
    }
}

/* ---- Mistakes, each in a child ---- */

static void inversion(void)
{
    hk_lock_acquire(&locks[HK_RANK_POOL], HK_RANK_POOL);
    hk_lock_acquire(&locks[HK_RANK_HEAP], HK_RANK_HEAP);
}

static void inversion_by_trying(void)
{
    hk_lock_acquire(&locks[HK_RANK_META], HK_RANK_META);
    (void)hk_lock_try_acquire(&locks[HK_RANK_CACHES], HK_RANK_CACHES);
}

static void inversion_behind_a_gap(void)
{
    hk_lock_acquire(&locks[HK_RANK_CACHES], HK_RANK_CACHES);
    hk_lock_acquire(&locks[HK_RANK_LARGE], HK_RANK_LARGE);
    hk_lock_release(&locks[HK_RANK_CACHES], HK_RANK_CACHES);
    hk_lock_acquire(&locks[HK_RANK_HEAP], HK_RANK_HEAP);
}

static void same_rank_twice(void)
{
    hk_lock_t first = {0}, second = {0};
    hk_lock_acquire(&first, HK_RANK_HEAP);
    hk_lock_acquire(&second, HK_RANK_HEAP);
}

static void release_of_nothing(void)
{
    hk_lock_release(&locks[HK_RANK_HEAP], HK_RANK_HEAP);
}

static void rising(void)
{
    hk_lock_acquire(&locks[HK_RANK_HEAP], HK_RANK_HEAP);
    hk_lock_acquire(&locks[HK_RANK_POOL], HK_RANK_POOL);
}

/* says: how the line starts that ends the process; NULL: it does not end */
static void check_child(const char *name, void (*body)(void), const char *says)
{
    int file = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(file >= 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(file, 2);
        alarm(60);
        body();
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    char said[1024] = {0};
    CHECK(pread(file, said, sizeof said - 1, 0) >= 0);
    CHECK(close(file) == 0);
    if (says != NULL) {
        CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (%s: status 0x%x)", name,
               (unsigned)status);
        CHECKF(strncmp(said, says, strlen(says)) == 0, " (%s: '%s')", name, said);
        CHECKF(strchr(said, '\n') == said + strlen(said) - 1, " (%s: '%s')", name, said);
    } else {
        CHECKF(WIFEXITED(status) && WEXITSTATUS(status) == 0, " (%s: status 0x%x)", name,
               (unsigned)status);
        CHECKF(said[0] == '\0', " (%s: '%s')", name, said);
    }
}

int main(void)
{
    static const char order[] = "hakmem: a signal handler called malloc or free, or jumped out of ";
    const char *assertion = HK_DEBUG >= 2 ? "hakmem: assertion failed: " : NULL;
    check_table();
    check_states();
    check_exclusion();
    check_strain();
    check_child("inversion", inversion, order);
    check_child("inversion by trying", inversion_by_trying, order);
    check_child("inversion behind a gap", inversion_behind_a_gap, order);
    check_child("same rank twice", same_rank_twice, order);
    check_child("release of nothing", release_of_nothing, assertion);
    check_child("rising", rising, NULL);
    return 0;
}
