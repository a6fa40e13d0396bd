/*
 * The heap: blocks and magazines in and out, what it does without memory, its end; and bad frees.
 */
#include "heap_checks.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "large.h"
#include "meta.h"

/* What hardening takes out of a slab: one of the lowest two, or any one; each block once. */
static void test_placement(void)
{
    static void *taken[HK_SLAB_BLOCKS_MAX];
    hk_heap_t *heap = new_heap();
    hk_magazine_t *m = load(heap, TINY, NULL);
    hk_slab_t *slab = hk_slab_find(m->slot[0]);
    size_t block_bytes = bytes_of(TINY);
    char *lowest = (char *)m->slot[0] + block_bytes;
    unsigned count = slab->free_blocks;
    taken[0] = hk_slab_take_either(slab, true);
    taken[1] = hk_slab_take_either(slab, true);
    taken[2] = hk_slab_take_either(slab, false);
    taken[3] = hk_slab_take_either(slab, false);
    CHECK(taken[0] == lowest + block_bytes && taken[1] == lowest + 2 * block_bytes);
    CHECK(taken[2] == lowest && taken[3] == lowest + 3 * block_bytes);
    for (unsigned i = 4; i < count; i++) {
        taken[i] = i % 2 == 0 ? hk_slab_take_random(slab, i * 0x9e3779b97f4a7c15)
                              : hk_slab_take_either(slab, i % 4 == 1);
        CHECK(hk_slab_probe(slab, taken[i]) == HK_PUT_DONE);
        CHECK(slab->free_blocks == count - 1 - i);
    }
    CHECK(hk_slab_put(slab, taken, count) == count);
    hk_heap_dissolve(heap, m);
    CHECK(check_heap(heap, TINY) == hk_class_info[TINY].block_count);
    hk_heap_delete(heap);
}

static void test_load(void)
{
    hk_heap_t *heap = new_heap();
    unsigned most = hk_policy_class[TINY].magazine_blocks;
    hk_magazine_t *m = load(heap, TINY, NULL);
    CHECK(m->count == most && m->kind == KIND);
    /* The newest slot is popped first: the slab's blocks come in the order of their addresses. */
    for (unsigned i = 0; i < m->count; i++) {
        char *expected = (char *)m->slot[m->count - 1] + (size_t)i * bytes_of(TINY);
        CHECK(m->slot[m->count - 1 - i] == expected);
    }
    CHECK(heap->pool->acquires[HK_STAGE_NEW] == 1);
    CHECK(check_heap(heap, TINY) == hk_class_info[TINY].block_count - (size_t)m->count);

    /* An empty magazine that is large enough is filled again, a small one is exchanged. */
    hk_magazine_t *empty = hk_heap_take_magazine(heap, KIND);
    CHECK(empty != NULL && empty->count == 0);
    CHECK(load(heap, TINY, empty) == empty);
    hk_magazine_t *small = hk_heap_take_magazine(heap, 0);
    CHECK(small->kind == 0 && small->capacity == hk_magazine_capacity(0));
    hk_magazine_t *larger = load(heap, TINY, small);
    CHECK(larger != small && larger->kind == KIND);
    /* The smallest kind comes in pairs, so that no two heaps write to one pair of cache lines. */
    CHECK(heap->spare_count[0] == 2 && heap->spare[0] == small);
    CHECK(((uintptr_t)small ^ (uintptr_t)small->next) == HK_CACHE_LINE);

    /* Few blocks of large sizes. */
    hk_magazine_t *large = load(heap, HK_CLASS_COUNT - 1, NULL);
    CHECK(large->count >= 1 && large->count <= hk_policy_class[HK_CLASS_COUNT - 1].magazine_blocks);
    hk_heap_dissolve(heap, large);
    hk_heap_dissolve(heap, m);
    hk_heap_dissolve(heap, empty);
    hk_heap_dissolve(heap, larger);
    CHECK(check_heap(heap, TINY) == hk_class_info[TINY].block_count);
    hk_heap_delete(heap);
}

static void test_unload(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *full[4];
    for (size_t i = 0; i < 4; i++)
        full[i] = load(heap, MEDIUM, NULL);
    for (size_t i = 0; i < 4; i++) {
        hk_magazine_t *empty = hk_heap_unload(heap, MEDIUM, full[i], 1);
        CHECK(empty != full[i] && empty->count == 0 && empty->kind == 1);
        CHECK(heap->classes[MEDIUM].depot.count == i + 1);
        CHECK(full[i]->class_index == MEDIUM);
        hk_heap_dissolve(heap, empty); /* nothing in it: it becomes a spare one */
    }
    CHECK(heap->spare_count[1] >= 1);
    (void)check_heap(heap, MEDIUM);
    for (size_t i = 4; i-- > 0;) { /* the last one in is the first one out */
        CHECK(load(heap, MEDIUM, NULL) == full[i]);
        CHECK(heap->classes[MEDIUM].depot.count == i);
    }
    for (size_t i = 0; i < 4; i++)
        hk_heap_dissolve(heap, full[i]);
    (void)check_heap(heap, MEDIUM);
    hk_heap_delete(heap);
}

static void test_dissolve(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *m = load(heap, TINY, NULL);
    hk_slab_t *slab = hk_slab_find(m->slot[0]);
    CHECK(heap->classes[TINY].empty == NULL && heap->pool->used_units == 1);
    hk_heap_dissolve(heap, m);
    CHECK(heap->classes[TINY].empty == slab && heap->empty_units == 1); /* kept */
    CHECK(heap->pool->used_units == 1);
    CHECK(heap->own_acquires == 0);
    m = load(heap, TINY, NULL);
    CHECK(heap->own_acquires == 1 && hk_slab_find(m->slot[0]) == slab); /* stage 0.5 */
    CHECK(heap->empty_units == 0 && heap->pool->acquires[HK_STAGE_NEW] == 1);

    /* A second empty slab of the class goes back to the pool, and out of the near table. */
    hk_magazine_t *all[400];
    size_t count = 0;
    while (heap->pool->used_units < 3)
        all[count++] = load(heap, TINY, NULL);
    char *unit = hk_slab_base(hk_slab_find(all[count - 1]->slot[0]));
    CHECK(hk_registry_near((uintptr_t)unit) != 0);
    hk_heap_dissolve(heap, m);
    while (count > 0) {
        hk_heap_dissolve(heap, all[--count]);
        (void)check_heap(heap, TINY);
    }
    CHECK(heap->pool->used_units == 1 && heap->pool->warm_units == 2);
    CHECK(check_heap(heap, TINY) == hk_class_info[TINY].block_count);
    unsigned named = 0;
    for (unsigned i = 0; i < 3; i++)
        named += hk_registry_near((uintptr_t)unit - i * (uintptr_t)HK_UNIT_BYTES) != 0;
    CHECK(named == 1);

    /* Few units in all: the sum over the classes is bounded. */
    for (unsigned c = 0; c < HK_CLASS_COUNT; c++)
        hk_heap_dissolve(heap, load(heap, c, NULL));
    (void)check_heap(heap, TINY);
    CHECK(heap->empty_units == HK_EMPTY_UNITS_MIN && heap->pool->used_units == heap->empty_units);
    CHECK(heap->spare_count[KIND] < 32);
    hk_heap_delete(heap);
}

static void test_single_blocks(void)
{
    hk_heap_t *heap = new_heap();
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    static unsigned classes[COUNT];
    test_rng_t rng = test_rng(3);
    for (size_t i = 0; i < COUNT; i++) {
        classes[i] = (unsigned)test_below(&rng, HK_CLASS_COUNT);
        blocks[i] = hk_heap_take_block(heap, classes[i]);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], bytes_of(classes[i]), i);
    }
    (void)check_heap(heap, 0);
    for (size_t i = 0; i < COUNT; i++) {
        size_t j = i + test_below(&rng, COUNT - i);
        void *block = blocks[j];
        CHECK(hk_slab_find(block)->class_index == classes[j]);
        hk_heap_put_block(heap, hk_slab_find(block), block);
        blocks[j] = blocks[i];
        classes[j] = classes[i];
    }
    (void)check_heap(heap, 0);
    CHECK(heap->pool->used_units == heap->empty_units);
    hk_heap_delete(heap);
}

static void test_no_memory(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *empty = hk_heap_take_magazine(heap, KIND);
    CHECK(empty != NULL);

    /* No slab to be had: the empty magazine stays with the caller. */
    fake_os_fail_after(0);
    CHECK(hk_heap_load(heap, TINY, empty, KIND, MOST) == NULL);
    CHECK(hk_heap_load(heap, TINY, NULL, KIND, MOST) == NULL);
    CHECK(hk_heap_take_block(heap, TINY) == NULL);
    CHECK(empty->count == 0 && heap->spare[KIND] != empty);
    CHECK(heap->pool->superslabs == 0);
    (void)check_heap(heap, TINY);
    fake_os_heal();
    hk_magazine_t *full = load(heap, TINY, empty);
    CHECK(full == empty);
    hk_magazine_t *small = hk_heap_take_magazine(heap, 0);

    /* No metadata either: a small magazine must do, and a full one is dissolved on the spot. */
    fake_os_fail_after(0);
    for (unsigned kind = 0; kind < HK_MAGAZINE_KINDS; kind++) {
        while (hk_heap_take_magazine(heap, kind) != NULL) { /* its own, others', new ones */
        }
        CHECK(hk_meta_allocate(HK_META_MAGAZINE + kind, hk_magazine_bytes(kind)) == NULL);
    }
    CHECK(hk_heap_new(6, NULL) == NULL);
    hk_magazine_t *loaded = hk_heap_load(heap, TINY, small, KIND, MOST);
    CHECK(loaded == small && loaded->count > 0 && loaded->count <= hk_magazine_capacity(0));
    CHECK(hk_heap_load(heap, TINY, NULL, KIND, MOST) == NULL);
    size_t before = check_heap(heap, TINY);
    size_t blocks = loaded->count;
    CHECK(hk_heap_unload(heap, TINY, loaded, KIND) == loaded);
    CHECK(loaded->count == 0 && check_heap(heap, TINY) == before + blocks);
    void *block = hk_heap_take_block(heap, TINY); /* wants no magazine */
    CHECK(block != NULL);
    hk_heap_put_block(heap, hk_slab_find(block), block);
    hk_heap_dissolve(heap, full);
    fake_os_heal();
    CHECK(hk_heap_take_magazine(heap, KIND) != NULL);
    (void)check_heap(heap, TINY);
    hk_heap_delete(heap);
}

static void test_delete(void)
{
    size_t mapped = 0;
    size_t large = hk_large_used_bytes();
    for (int round = 0; round < 20; round++) { /* from the second on the metadata is there */
        hk_heap_t *heap = new_heap();
        for (unsigned c = 0; c < HK_CLASS_COUNT; c++) {
            CHECK(hk_heap_take_block(heap, c) != NULL);
            hk_heap_dissolve(heap, load(heap, c, NULL));
        }
        for (int i = 0; i < 5; i++) {
            hk_large_t *l = hk_large_allocate(3 * MIB, 1);
            CHECK(l != NULL);
            l->heap = heap;
            l->next = heap->large;
            heap->large = l;
        }
        hk_heap_delete(heap);
        (void)hk_large_drain();
        CHECK(hk_large_used_bytes() == large && hk_large_kept_bytes() == 0);
        CHECKF(round < 2 || fake_os.mapped_bytes <= mapped + 256 * KIB, " (%zu, was %zu)",
               (size_t)fake_os.mapped_bytes, mapped);
        mapped = round < 2 ? fake_os.mapped_bytes : mapped;
    }
    CHECK(hk_superslab_count() == 0);
}

static void test_reset(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *m = load(heap, TINY, NULL);
    m->class_index = TINY;
    hk_heap_hand_over(heap, m, 0);
    heap->lock.state = 1; /* held by a thread that did not come along */
    hk_heap_reset(heap);
    CHECK(!hk_lock_is_held(&heap->lock));
    CHECK(heap->inbox == m); /* the inbox is whole, and what lies in it comes along */
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->inbox == NULL && heap->pool->used_units == 0);
    hk_heap_delete(heap);
}

/* ---- Bad frees, each in a child ---- */

static void put_twice(void)
{
    hk_heap_t *heap = new_heap();
    void *block = hk_heap_take_block(heap, TINY);
    hk_heap_put_block(heap, hk_slab_find(block), block);
    hk_heap_put_block(heap, &((hk_superslab_t *)hk_registry_find(block))->slabs[1], block);
}

static void put_inside(void)
{
    hk_heap_t *heap = new_heap();
    char *block = hk_heap_take_block(heap, MEDIUM);
    hk_heap_put_block(heap, hk_slab_find(block), block + 16);
}

static void dissolve_twice(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *m = load(heap, TINY, NULL);
    m->slot[1] = m->slot[0];
    hk_heap_dissolve(heap, m);
}

static void dissolve_gone(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *m = load(heap, MEDIUM, NULL);
    hk_magazine_t *same = hk_heap_take_magazine(heap, KIND);
    same->slot[0] = m->slot[0];
    same->count = 1;
    hk_heap_dissolve(heap, m);
    hk_heap_reclaim(heap, SIZE_MAX);
    hk_heap_dissolve(heap, same);
}

static void check_rejected(void (*body)(void), const char *what)
{
    int file = memfd_create("stderr", MFD_CLOEXEC);
    CHECK(file >= 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)dup2(file, 2);
        body();
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    char said[1024] = {0};
    CHECK(pread(file, said, sizeof said - 1, 0) >= 0 && close(file) == 0);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (%s: status 0x%x, '%s')", what,
           (unsigned)status, said);
    CHECKF(strncmp(said, "hakmem: ", 8) == 0 && strstr(said, what) != NULL, " (%s: '%s')", what,
           said);
}

int main(void)
{
    check_rejected(put_twice, "double free");
    check_rejected(put_inside, "invalid free");
    check_rejected(dissolve_twice, "double free");
    check_rejected(dissolve_gone, "double free");
    test_placement();
    test_load();
    test_unload();
    test_dissolve();
    test_single_blocks();
    test_no_memory();
    test_delete();
    test_reset();
    return 0;
}
