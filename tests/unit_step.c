/*
 * A signal handler jumps out of the cache's own work between any two instructions, with no lock
 * held.  Afterwards each magazine is in one place at most, no block lies in two, and the counts are
 * right.
 */
#include "test.h"

#if defined(__x86_64__) && !TEST_SANITIZED

#include <hakmem/hakmem.h>
#include <setjmp.h>
#include <signal.h>

#include "no_locks.h"
#include "thread.h"

enum { SIZE = 48, IDLE_SIZE = 256, FEW_SIZE = 16384, USES = 400, SEEN_MAX = 4096 };

static volatile unsigned steps_left, locks_held;
static sigjmp_buf landing;

static void note_taken(void)
{
    locks_held++;
}

static void note_given_back(void)
{
    locks_held--;
}

static void on_step(int number)
{
    (void)number;
    if (steps_left > 1) {
        steps_left--;
    } else if (steps_left == 1 && locks_held == 0) {
        steps_left = 0;
        siglongjmp(landing, 1);
    }
}

/* The processor's own: a signal behind each instruction. */
static void set_trap(bool on)
{
    if (on)
        __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
    else
        __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}

/* ---- Where each block is ---- */

static const void *seen[SEEN_MAX];
static unsigned seen_count;

static void see_thing(const void *thing)
{
    for (unsigned i = 0; i < seen_count; i++)
        CHECK(seen[i] != thing);
    CHECK(seen_count < SEEN_MAX);
    seen[seen_count++] = thing;
}

static void see(const hk_magazine_t *magazine, size_t count)
{
    CHECKF(count <= magazine->capacity, " (%zu)", count);
    CHECK(magazine->slot[magazine->capacity] == HK_MAGAZINE_END);
    see_thing(magazine);
    for (size_t i = 0; i < count; i++) {
        const hk_slab_t *slab = hk_slab_find(magazine->slot[i]);
        CHECK(slab != NULL && hk_slab_probe(slab, magazine->slot[i]) == HK_PUT_DONE);
        see_thing(magazine->slot[i]);
    }
}

static void check_class(size_t size)
{
    const hk_cache_t *cache = hk_thread_own;
    unsigned class_index = hk_class_of(size);
    const hk_magazine_t *loaded = cache->loaded[class_index];
    const hk_magazine_t *previous = cache->previous[class_index];
    seen_count = 0;
    /* Without a loaded magazine top may point into one that is lost, and has its ends. */
    for (unsigned i = 1; cache->top[class_index][i] != HK_MAGAZINE_END; i++)
        CHECK(i <= hk_magazine_capacity(HK_MAGAZINE_KINDS - 1));
    if (loaded != NULL)
        see(loaded, hk_magazine_loaded_count(loaded, cache->top[class_index]));
    if (previous != NULL)
        see(previous, previous->count);
    for (const hk_magazine_t *m = cache->heap->classes[class_index].depot.stack; m; m = m->next)
        see(m, m->count);
    for (unsigned kind = 0; kind < HK_MAGAZINE_KINDS; kind++)
        for (const hk_magazine_t *m = cache->heap->spare[kind]; m; m = m->next)
            see_thing(m);
}

static void *blocks[USES];

static void stock(size_t size)
{
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < USES; i++)
            CHECK((blocks[i] = hak_malloc(size)) != NULL);
        for (int i = 0; i < USES; i++)
            hak_free(blocks[i]);
    }
}

/* ---- What is jumped out of ---- */

static hk_cache_t *cache;

/* The loaded magazine is full, and the previous one is empty. */
static void prepare_shift(void)
{
    unsigned class_index = hk_class_of(SIZE);
    stock(SIZE);
    while (*cache->top[class_index] != NULL || cache->previous[class_index]->count > 0)
        CHECK((blocks[0] = hak_malloc(SIZE)) != NULL);
    void *block = hak_malloc(SIZE);
    CHECK(block != NULL);
    hak_free(block);
    CHECK(hk_cache_is_full(cache, class_index));
}

static void shift(void)
{
    CHECK(hk_cache_shift_out(cache, hk_class_of(SIZE)));
}

/* The previous magazine has blocks and more slots than the class may use, as if another heap's
 * thread had filled it. */
static void prepare_swap(void)
{
    unsigned class_index = hk_class_of(FEW_SIZE);
    hk_magazine_t *previous;
    stock(FEW_SIZE);
    while ((previous = cache->previous[class_index])->count == 0)
        hak_free(hak_malloc(FEW_SIZE));
    CHECK(previous->capacity < hk_magazine_capacity(previous->kind));
    hk_magazine_set_capacity(previous, hk_magazine_capacity(previous->kind));
}

static void swap(void)
{
    CHECK(hk_cache_swap_in(cache, hk_class_of(FEW_SIZE)));
}

static void prepare_idle(void)
{
    stock(SIZE);
    stock(IDLE_SIZE);
    for (unsigned i = 0; i < HK_CLASS_COUNT; i++)
        cache->epoch_newest[i] = *cache->top[i];
    cache->epoch_ms = 0; /* long ago */
}

static void help(void)
{
    hk_cache_help(cache, HK_TRAP_NONE);
}

/* Behind the stride-th instruction at which no lock is held, then behind the next stride, and so on
 * to the end of the work. */
static unsigned jump_out_of(void (*prepare)(void), void (*work)(void), unsigned stride)
{
    volatile unsigned jumps = 0;
    for (volatile bool jumped = true; jumped;) {
        prepare();
        jumped = sigsetjmp(landing, 1) != 0;
        if (!jumped) {
            steps_left = stride * (jumps + 1);
            set_trap(true);
            work();
        } else {
            jumps = jumps + 1;
        }
        set_trap(false);
        steps_left = 0;
        CHECK(locks_held == 0);
        check_class(SIZE);
        check_class(IDLE_SIZE);
        check_class(FEW_SIZE);
    }
    return jumps;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_step, .sa_flags = SA_NODEFER};
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    void *block = hak_malloc(SIZE);
    CHECK(block != NULL);
    hak_free(block);
    cache = hk_thread_own;
    CHECK(jump_out_of(prepare_shift, shift, 1) > 20);
    CHECK(jump_out_of(prepare_swap, swap, 1) > 20);
    CHECK(jump_out_of(prepare_idle, help, 401) > 5);
    return 0;
}

#else

int main(void)
{
    return 0; /* there is no way to step that is known here */
}

#endif
