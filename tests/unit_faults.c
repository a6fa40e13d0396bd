/*
 * Memory runs out at every point there is: for n = 0, 1, 2, ... the n-th mapping call and all after
 * it fail, under a mixed workload.  Every failure must be NULL with ENOMEM, every live block keeps
 * its content, and once there is memory again all succeeds.
 *
 * The cold walk does that in a fresh process for each n, where the first call of everything is met;
 * the warm walk does it over and over in this process, and looks for leaks.  An argument gives the
 * warm walk another seed.
 */
#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "meta.h"

enum { SLOTS = 48, STEPS = 400, HEAPS = 3, ALIGNMENT_MAX_BITS = 23 };

typedef struct slot {
    void *block;
    size_t size;
    uint64_t id;
    int heap; /* the number of a first-class heap, or -1 */
} slot_t;

static struct {
    slot_t slots[SLOTS];
    hak_heap_t *heaps[HEAPS];
    test_rng_t rng;
    uint64_t next_id;
    uint64_t refused; /* requests that failed */
} work;

/* After an allocating call with errno 0 before it: whether it failed; if so it did as it should. */
static bool refused(const void *block)
{
    if (block != NULL)
        return false;
    CHECKF(errno == ENOMEM, " (errno %d)", errno);
    CHECK(fake_os.calls > fake_os.fail_from); /* there was memory, or nobody asked for it */
    work.refused++;
    return true;
}

static void verify(const slot_t *slot)
{
    if (slot->block != NULL)
        CHECK_PATTERN(slot->block, slot->size, slot->size, slot->id);
}

static void keep(slot_t *slot, void *block, size_t size, int heap)
{
    CHECK(hak_usable_size(block) >= size);
    *slot = (slot_t){block, size, work.next_id++, heap};
    test_fill(block, size, slot->id);
}

static size_t random_size(void)
{
    switch (test_below(&work.rng, 8)) {
    case 0: return test_below(&work.rng, 3 * MIB);
    case 1: return test_below(&work.rng, 300 * KIB);
    case 2: return test_log_size(&work.rng, 23);
    case 3: return test_below(&work.rng, 80 * KIB);
    default: return test_log_size(&work.rng, 12);
    }
}

static void allocate(slot_t *slot)
{
    size_t size = random_size();
    size_t alignment = (size_t)1 << test_below(&work.rng, ALIGNMENT_MAX_BITS + 1);
    int number = (int)test_below(&work.rng, HEAPS);
    hak_heap_t *heap = work.heaps[number];
    size_t what = test_below(&work.rng, heap != NULL ? 8 : 4);
    bool zeroed = false, aligned = false;
    void *block = NULL;
    errno = 0;
    switch (what) {
    case 0: block = hak_calloc(1 + size / 8, 8), size = (1 + size / 8) * 8, zeroed = true; break;
    case 1: block = hak_aligned_alloc(alignment, size), aligned = true; break;
    case 4: block = hak_heap_calloc(heap, size, 1), zeroed = true; break;
    case 5: block = hak_heap_aligned_alloc(heap, alignment, size), aligned = true; break;
    case 6: block = hak_heap_malloc(heap, size); break;
    case 7: block = hak_heap_realloc(heap, NULL, size + 1), size++; break;
    default: block = hak_malloc(size); break;
    }
    if (refused(block))
        return;
    CHECKF(!zeroed || test_is_filled_with(block, 0, size), " (%zu bytes)", size);
    CHECKF(!aligned || test_is_aligned(block, alignment), " (%p to %zu)", block, alignment);
    CHECK(test_is_aligned(block, size >= 16 ? 16 : 8));
    keep(slot, block, size, what >= 4 ? number : -1);
}

static void resize(slot_t *slot)
{
    size_t size = 1 + random_size();
    if (test_below(&work.rng, 4) == 0)
        size = 1 + slot->size + test_below(&work.rng, slot->size + 1);
    hak_heap_t *heap = slot->heap >= 0 ? work.heaps[slot->heap] : NULL;
    errno = 0;
    void *block = heap != NULL && test_below(&work.rng, 2) == 0
                      ? hak_heap_realloc(heap, slot->block, size)
                      : hak_realloc(slot->block, size);
    if (refused(block)) {
        verify(slot); /* it stays valid */
        return;
    }
    size_t kept = size < slot->size ? size : slot->size;
    CHECK_PATTERN(block, kept, slot->size, slot->id);
    keep(slot, block, size, slot->heap);
}

static void release(slot_t *slot)
{
    verify(slot);
    errno = 1234;
    hak_free(slot->block);
    CHECKF(errno == 1234, " (errno %d)", errno);
    slot->block = NULL;
}

static void make_heap(int number)
{
    errno = 0;
    hak_heap_t *heap = hak_heap_create();
    if (!refused(heap))
        work.heaps[number] = heap;
}

static void destroy_heap(int number)
{
    for (size_t i = 0; i < SLOTS; i++) {
        if (work.slots[i].block != NULL && work.slots[i].heap == number) {
            verify(&work.slots[i]);
            work.slots[i].block = NULL;
        }
    }
    hak_heap_destroy(work.heaps[number]);
    work.heaps[number] = NULL;
}

/* What never succeeds, and asks nobody. */
static void ask_for_too_much(void)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1};
    uint64_t calls = fake_os.calls;
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        volatile size_t size = sizes[i]; /* the compiler knows that this is too much, and says so */
        errno = 0;
        CHECK(hak_malloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(hak_calloc(size / 2 + 1, 4) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(hak_aligned_alloc(64, size) == NULL && errno == ENOMEM);
    }
    CHECK(fake_os.calls == calls);
}

static void step(void)
{
    slot_t *slot = &work.slots[test_below(&work.rng, SLOTS)];
    size_t what = test_below(&work.rng, 64);
    int number = (int)test_below(&work.rng, HEAPS);
    if (what == 0 && work.heaps[number] != NULL)
        destroy_heap(number);
    else if (what <= 4 && work.heaps[number] == NULL)
        make_heap(number);
    else if (what == 5)
        (void)hak_trim(test_below(&work.rng, 2) * MIB);
    else if (what == 6)
        ask_for_too_much();
    else if (what == 7)
        fake_os_advance(test_below(&work.rng, 600));
    else if (slot->block == NULL)
        allocate(slot);
    else if (what < 28)
        resize(slot);
    else
        release(slot);
}

static void verify_all(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        verify(&work.slots[i]);
}

static void release_all(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (work.slots[i].block != NULL)
            release(&work.slots[i]);
    for (int i = 0; i < HEAPS; i++)
        if (work.heaps[i] != NULL)
            destroy_heap(i);
}

/* The workload with the n-th mapping call failing, and then with memory again.  Whether any call
 * was made to fail. */
static bool run_with(uint64_t n, uint64_t seed)
{
    work.rng = test_rng(seed);
    work.refused = 0;
    uint64_t failures = fake_os.failures;
    fake_os_fail_after(n);
    for (int i = 0; i < STEPS; i++)
        step();
    verify_all();
    bool failed = fake_os.failures > failures;
    CHECK(failed || work.refused == 0);
    /* Without memory too, the heaps are whole and blocks can be freed. */
    CHECK(hak_check() == 0);
    for (size_t i = 0; i < SLOTS; i += 2)
        if (work.slots[i].block != NULL)
            release(&work.slots[i]);
    CHECK(hak_check() == 0);
    verify_all();

    fake_os_heal();
    uint64_t before = work.refused;
    for (int i = 0; i < STEPS / 2; i++)
        step(); /* a failure now would fail in refused() */
    CHECK(work.refused == before);
    verify_all();
    CHECK(hak_check() == 0);
    release_all();
    CHECK(hak_check() == 0);
    return failed;
}

/* ---- The cold walk ---- */

static bool cold_child(uint64_t n, bool spread)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(120);
        fake_os.spread = spread ? 1 : 0;
        /* Each of these may be the first call of all. */
        bool failed;
        if (n % 3 == 1)
            make_heap(0);
        if (n % 3 == 2)
            (void)hak_trim(0);
        failed = run_with(n / 3, n);
        _exit(failed ? 3 : 0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(WIFEXITED(status) && (WEXITSTATUS(status) == 3 || WEXITSTATUS(status) == 0),
           " (cold, n %llu%s: status 0x%x)", (unsigned long long)n, spread ? ", spread" : "",
           (unsigned)status);
    return WEXITSTATUS(status) == 3;
}

static void cold_walk(bool spread)
{
    for (uint64_t n = 0; n < 45; n++) {
        bool failed = cold_child(n, spread);
        CHECKF(failed || n > 3, " (n %llu)", (unsigned long long)n);
    }
}

/* ---- The warm walk ---- */

/* Apart from blocks: the allocator's own memory, which it keeps for good and recycles. */
static size_t mapped_for_blocks(void)
{
    size_t meta = hk_meta_bytes();
    size_t chunks = meta == 0 ? 0 : meta - 64 * KIB; /* the first one is part of the library */
    CHECK(fake_os.mapped_bytes >= chunks);
    return fake_os.mapped_bytes - chunks;
}

static void warm_walk(uint64_t seed)
{
    size_t rest = 0, meta = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint64_t n = 0;
        /* Close together at the start, then further apart, until nothing fails any more. */
        for (bool failed = true; failed; n += n < 30 ? 1 : n / 8) {
            failed = run_with(n, seed);
            (void)hak_trim(0);
            size_t now = mapped_for_blocks();
            /* Leaves of the registry stay: 64 KiB for each 16 GiB of address space that was ever
             * used. */
            CHECKF(now <= 1 * MIB && now % (64 * KIB) == 0, " (n %llu: %zu bytes are left)",
                   (unsigned long long)n, now);
            rest = pass == 0 ? now : rest;
            CHECK(n < 100000);
        }
        CHECKF(n > 10, " (%llu)", (unsigned long long)n);
        CHECK(pass == 0 || mapped_for_blocks() <= rest + 128 * KIB);
        CHECKF(pass == 0 || hk_meta_bytes() <= meta + 256 * KIB, " (%zu, was %zu)", hk_meta_bytes(),
               meta);
        meta = hk_meta_bytes();
    }
}

/* A caller without memory for long goes on working with what it has. */
static void lasting_shortage(void)
{
    work.rng = test_rng(99);
    fake_os_fail_after(0);
    for (int i = 0; i < 5000; i++)
        step();
    verify_all();
    CHECK(hak_check() == 0);
    fake_os_heal();
    void *block = hak_malloc(5 * MIB);
    CHECK(block != NULL);
    memset(block, 1, 5 * MIB);
    hak_free(block);
    release_all();
    CHECK(hak_check() == 0);
}

int main(int argc, char **argv)
{
    cold_walk(false); /* first: nothing has been allocated yet */
    cold_walk(true);
    warm_walk(test_arg(argc, argv, 1, 1));
    lasting_shortage();
    CHECK(hak_check() == 0);
    return 0;
}
