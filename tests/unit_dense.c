/*
 * Dense superslabs: which are asked to be of huge pages and when, what that counts, how they become
 * small again, and what becomes of a refusal.  The units are filled by setting live bits, as malloc
 * does.
 */
#include "test.h"

#include "fake_os.h"
#include "limit.h"
#include "options.h"
#include "policy.h"
#include "pool.h"

enum {
    UNITS = HK_SLAB_UNITS_MAX,
    SUPERSLABS = 40,
    DENSE = 10, /* the first so many of them are */
    WHOLE_MS = HK_DENSE_MS + SUPERSLABS * HK_DENSE_LOOK_MS,
};

static char somebody; /* the address of the heap that acquires; the pool does not look into it */
static struct hk_heap *const heap = (struct hk_heap *)(void *)&somebody;
static hk_pool_t pool;
static hk_slab_t *slabs[SUPERSLABS][UNITS];

static hk_superslab_t *superslab_of(unsigned i)
{
    return slabs[i][0]->superslab;
}

/* The bits of a share of a slab's blocks, in 64ths; as if the others were free. */
static void hold(const hk_slab_t *slab, unsigned share)
{
    const hk_class_info_t *info = &hk_class_info[slab->class_index];
    hk_live_clear_units(hk_slab_base(slab), slab->units);
    for (unsigned i = 0; i < info->block_count; i++) {
        if (i % 64 < share)
            hk_live_set(hk_slab_base(slab) + (size_t)i * info->block_bytes);
    }
}

/* A superslab of slabs of a unit, all with the same share of blocks live. */
static void fill(unsigned number, size_t block_bytes, unsigned share)
{
    uint8_t class_index = (uint8_t)hk_class_of(block_bytes);
    for (unsigned i = 0; i < UNITS; i++) {
        slabs[number][i] = hk_pool_acquire(&pool, heap, 1, class_index);
        CHECK(slabs[number][i] != NULL && slabs[number][i]->superslab == superslab_of(number));
        hold(slabs[number][i], share);
    }
}

static void empty(unsigned number, unsigned from)
{
    for (unsigned i = from; i < UNITS; i++) {
        hk_live_clear_units(hk_slab_base(slabs[number][i]), 1);
        hk_pool_release(slabs[number][i], false);
    }
}

static void fill_all(unsigned superslabs)
{
    for (unsigned i = 0; i < superslabs; i++)
        fill(i, 128, i < DENSE ? 64 : 32);
}

static void end(unsigned superslabs)
{
    for (unsigned i = 0; i < superslabs; i++)
        empty(i, 0);
    (void)hk_pool_purge(&pool, 0, 0);
    CHECK(pool.superslabs == 0 && pool.warm_units == 0 && pool.look_at == NULL);
    CHECK(hk_superslab_advised_count() == 0);
    fake_os_advance(HK_DENSE_LOOK_MS);
}

/* Steps, as threads take them, for so long. */
static void live_on(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 8) {
        fake_os_advance(8);
        size_t left = HK_DECAY_STEP_BYTES;
        (void)hk_pool_maintain(&pool, hk_os_clock_ms(), &left);
    }
}

static unsigned count_huge(unsigned superslabs)
{
    unsigned huge = 0;
    for (unsigned i = 0; i < superslabs; i++) {
        const hk_superslab_t *superslab = superslab_of(i);
        CHECK(!superslab->pinned);
        CHECK(!superslab->huge || (superslab->advised && superslab->idle_dirty));
        huge += superslab->huge;
    }
    return huge;
}

/* ---- Which, and when ---- */

/* Once full for long enough the dense ones are asked for, one at a time, and nobody else. */
static void test_density(void)
{
    size_t committed = hk_limit_committed_bytes(), asked = fake_os.huge_bytes;
    fill_all(SUPERSLABS);
    size_t filled = hk_limit_committed_bytes();
    live_on(HK_DENSE_MS - 8);
    CHECK(count_huge(SUPERSLABS) == 0 && fake_os.huge_bytes == asked);
    unsigned before = 0;
    for (unsigned i = 0; i < WHOLE_MS / HK_DENSE_LOOK_MS; i++) {
        live_on(HK_DENSE_LOOK_MS);
        unsigned huge = count_huge(SUPERSLABS);
        CHECKF(huge - before <= 1, " (%u after %u)", huge, before);
        before = huge;
    }
    for (unsigned i = 0; i < SUPERSLABS; i++)
        CHECKF(superslab_of(i)->huge == (i < DENSE), " (%u)", i);
    live_on(3 * WHOLE_MS); /* and no more, however long it lives */
    CHECK(count_huge(SUPERSLABS) == DENSE && hk_superslab_advised_count() == DENSE);
    CHECK(fake_os.huge_bytes - asked == DENSE * (size_t)HK_SUPERSLAB_BYTES);
    CHECK(hk_limit_committed_bytes() - filled == DENSE * (size_t)HK_IDLE_BYTES);
    hold(slabs[DENSE][0], 64); /* one more fills up */
    for (unsigned i = 1; i < UNITS; i++)
        hold(slabs[DENSE][i], 62);
    live_on(WHOLE_MS);
    CHECK(count_huge(SUPERSLABS) == DENSE + 1);
    end(SUPERSLABS);
    CHECK(hk_limit_committed_bytes() == committed);
}

/* Not in a small heap, nor by HAKMEM_HUGE=0; neither large blocks, which need not have been written
 * to, nor superslabs that lack a unit, or got their last one a moment ago. */
static void test_others(void)
{
    size_t asked = fake_os.huge_bytes;
    fill_all(31);
    live_on(WHOLE_MS);
    CHECK(count_huge(31) == 0);
    for (unsigned i = 31; i < SUPERSLABS; i++)
        fill(i, 16 * KIB, 64);
    hk_options.huge = 0;
    live_on(WHOLE_MS);
    CHECK(count_huge(SUPERSLABS) == 0 && fake_os.huge_bytes == asked);
    hk_options.huge = 1;
    for (uint64_t ms = 0; ms < 3 * HK_DENSE_MS; ms += HK_DENSE_MS / 4) {
        for (unsigned i = 0; i < DENSE; i++) { /* never full for long */
            hk_pool_release(slabs[i][i], true);
            slabs[i][i] = hk_pool_acquire(&pool, heap, 1, (uint8_t)hk_class_of(128));
        }
        live_on(HK_DENSE_MS / 4);
    }
    CHECK(count_huge(SUPERSLABS) == 0);
    hk_pool_release(slabs[0][5], true);
    live_on(WHOLE_MS);
    CHECK(!superslab_of(0)->huge && count_huge(SUPERSLABS) == DENSE - 1);
    slabs[0][5] = hk_pool_acquire(&pool, heap, 1, (uint8_t)hk_class_of(128));
    end(SUPERSLABS);
}

/* ---- Small again ---- */

/* One that gives a part back is advised against huge pages first, and loses what they have filled
 * up. */
static void test_drain(void)
{
    size_t committed = hk_limit_committed_bytes();
    fill_all(SUPERSLABS);
    live_on(WHOLE_MS);
    hk_superslab_t *superslab = superslab_of(0);
    memset(superslab->base + HK_LIVE_BYTES, 0xdd, HK_IDLE_BYTES); /* as huge pages do */
    size_t small = fake_os.small_bytes, before = hk_limit_committed_bytes();
    empty(0, 20);
    CHECK(hk_pool_purge(&pool, 0, 1) == (UNITS - 20) * (size_t)HK_UNIT_BYTES);
    CHECK(!superslab->huge && !superslab->idle_dirty && superslab->advised);
    CHECK(fake_os.small_bytes - small == HK_SUPERSLAB_BYTES);
    CHECK(before - hk_limit_committed_bytes() ==
          (UNITS - 20) * (size_t)HK_UNIT_BYTES + HK_IDLE_BYTES);
    CHECK(test_is_filled_with(superslab->base + HK_LIVE_BYTES, 0, HK_IDLE_BYTES));
    CHECK(hk_live_count_units(hk_slab_base(slabs[0][0]), 1) == 512); /* its live bits are there */
    CHECK(count_huge(SUPERSLABS) == DENSE - 1);

    for (unsigned i = 20; i < UNITS; i++) { /* dense once more */
        slabs[0][i] = hk_pool_acquire(&pool, heap, 1, (uint8_t)hk_class_of(128));
        hold(slabs[0][i], 64);
    }
    live_on(WHOLE_MS);
    CHECK(count_huge(SUPERSLABS) == DENSE && hk_superslab_advised_count() == DENSE);

    /* The kernel takes nothing back: what stays is counted, and counted once. */
    before = hk_limit_committed_bytes();
    empty(1, 20);
    fake_os_fail_after(0);
    CHECK(hk_pool_purge(&pool, 0, 1) == 0);
    fake_os_heal();
    CHECK(!superslab_of(1)->huge && superslab_of(1)->idle_dirty);
    CHECK(hk_limit_committed_bytes() == before);
    for (unsigned i = 20; i < UNITS; i++) {
        slabs[1][i] = hk_pool_acquire(&pool, heap, 1, (uint8_t)hk_class_of(128));
        hold(slabs[1][i], 64);
    }
    live_on(WHOLE_MS);
    CHECK(superslab_of(1)->huge && hk_limit_committed_bytes() == before);
    end(SUPERSLABS);
    CHECK(hk_limit_committed_bytes() == committed);
}

/* ---- While the lock is open ---- */

static hk_superslab_t *pinned;

/* As if other threads had freed all that is in it, and given back what they could. */
static void free_it(void)
{
    CHECK(!hk_lock_is_held(&pool.lock));
    fake_os.on_advice = NULL;
    for (unsigned i = 0; i < SUPERSLABS; i++) {
        if (superslab_of(i)->pinned) {
            pinned = superslab_of(i);
            empty(i, 0);
        }
    }
    CHECK(pinned != NULL);
    (void)hk_pool_purge(&pool, 0, 0);
    CHECK(hk_registry_find(pinned->base) == &pinned->region);
    CHECK(pinned->free_units == pinned->dirty_units && pool.warm_units == UNITS);
}

static void test_pinned(void)
{
    fill_all(SUPERSLABS);
    pinned = NULL;
    fake_os.on_advice = free_it;
    live_on(WHOLE_MS);
    CHECK(pinned != NULL && fake_os.on_advice == NULL);
    for (unsigned i = 0; i < SUPERSLABS; i++) {
        CHECK(!superslab_of(i)->pinned);
        if (superslab_of(i) ==
            pinned) { /* for end: it serves again, or has gone and been mapped again */
            for (unsigned unit = 0; unit < UNITS; unit++)
                slabs[i][unit] = hk_pool_acquire(&pool, heap, 1, (uint8_t)hk_class_of(128));
            break;
        }
    }
    end(SUPERSLABS);
}

/* ---- Refusals ---- */

static void test_limit(void)
{
    fill_all(SUPERSLABS);
    size_t committed = hk_limit_committed_bytes();
    hk_limit_set(HK_LIMIT_HARD, committed + 1);
    live_on(2 * WHOLE_MS);
    CHECK(count_huge(SUPERSLABS) == 0 && hk_limit_committed_bytes() == committed);
    hk_limit_set(HK_LIMIT_HARD, 0);
    CHECK(hk_superslab_huge_refusals() == 0);
    live_on(WHOLE_MS + HK_DENSE_MS);
    CHECK(count_huge(SUPERSLABS) == DENSE);
    end(SUPERSLABS);
}

/* Asked for from the first touch on: counted whole from the start. */
static void test_insisting(void)
{
    size_t committed = hk_limit_committed_bytes();
    fill_all(32); /* none of which is huge */
    size_t filled = hk_limit_committed_bytes();
    slabs[32][0] = hk_pool_acquire(&pool, heap, 1, 0);
    CHECK(superslab_of(32)->huge && superslab_of(32)->idle_dirty && !superslab_of(31)->huge);
    CHECK(hk_limit_committed_bytes() - filled == HK_SUPERSLAB_BYTES);
    CHECK(pool.warm_units == UNITS - 1);
    hk_pool_release(slabs[32][0], false);
    end(32);
    CHECK(hk_limit_committed_bytes() == committed);
}

/* Where the limits have no room for all of it, the system must not make it huge by itself. */
static void test_insisting_at_the_limit(void)
{
    fill_all(32);
    hk_limit_set(HK_LIMIT_HARD, hk_limit_committed_bytes() + HK_SUPERSLAB_BYTES / 2);
    (void)hk_limit_release_reserve();
    size_t small_bytes = fake_os.small_bytes;
    slabs[32][0] = hk_pool_acquire(&pool, heap, 1, 0);
    CHECK(slabs[32][0] != NULL && !superslab_of(32)->huge);
    CHECK(fake_os.small_bytes - small_bytes == HK_SUPERSLAB_BYTES);
    hk_pool_release(slabs[32][0], false);
    hk_limit_set(HK_LIMIT_HARD, 0);
    end(32);
}

/* The lines on stderr while body runs. */
static size_t count_lines(void (*body)(void))
{
    char text[4096];
    int saved = dup(2), ends[2];
    CHECK(pipe(ends) == 0 && dup2(ends[1], 2) == 2 && close(ends[1]) == 0);
    body();
    CHECK(dup2(saved, 2) == 2 && close(saved) == 0);
    ssize_t length = read(ends[0], text, sizeof text);
    CHECK(length >= 0 && close(ends[0]) == 0);
    size_t lines = 0;
    for (ssize_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    return lines;
}

/* A kernel without huge pages, or a sandbox: asked once, and nothing is different from then on. */
static void be_refused(void)
{
    size_t committed = hk_limit_committed_bytes();
    fill_all(SUPERSLABS);
    size_t filled = hk_limit_committed_bytes();
    uint64_t failures = fake_os.failures;
    fake_os_fail_after(0);
    live_on(2 * WHOLE_MS);
    fake_os_heal();
    CHECK(fake_os.failures - failures == 1 && hk_superslab_huge_refusals() == 1);
    uint64_t look_ms = pool.look_ms;
    live_on(2 * WHOLE_MS);
    CHECK(count_huge(SUPERSLABS) == 0 && hk_limit_committed_bytes() == filled);
    CHECK(pool.look_ms == look_ms); /* nobody looks any more */
    hk_options.huge = 2;
    hk_slab_t *more = hk_pool_acquire(&pool, heap, 1, 0);
    CHECK(more != NULL && !more->superslab->huge && pool.warm_units == 0);
    CHECK(hk_limit_committed_bytes() - filled == HK_UNIT_BYTES + HK_LIVE_BYTES);
    hk_pool_release(more, false);
    end(SUPERSLABS);
    CHECK(hk_limit_committed_bytes() == committed && hk_superslab_huge_refusals() == 1);
}

/* In a process of its own, since a refusal is for good; returns the lines on stderr. */
static int lines_at(uint64_t mode)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        hk_options.huge = mode;
        _exit((int)count_lines(be_refused));
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

int main(void)
{
    fill_all(SUPERSLABS); /* the allocator's own memory stays, and counts */
    end(SUPERSLABS);
    test_density();
    test_others();
    test_drain();
    test_pinned();
    test_limit();
    hk_options.huge = 2;
    test_insisting();
    test_insisting_at_the_limit();
    hk_options.huge = 1;
    CHECK(lines_at(1) == 0); /* nobody has asked for more than is there */
    CHECK(lines_at(2) == 1);
    return 0;
}
