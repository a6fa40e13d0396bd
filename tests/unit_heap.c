/*
 * The heap: magazines in and out, blocks handed over, and what an epoch gives back.
 */
#include "test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "fake_os.h"
#include "heap.h"
#include "large.h"
#include "meta.h"

enum { TINY = 0, MEDIUM = 39, KIND = HK_MAGAZINE_KINDS - 1 };

static uint32_t bytes_of(unsigned class_index)
{
    return hk_class_info[class_index].block_bytes;
}

static hk_heap_t *new_heap(void)
{
    hk_heap_t *heap = hk_heap_new(5, NULL); /* an owner's number, so that the near table is used */
    CHECK(heap != NULL && heap->owner == 5 && heap->pool != NULL && heap->inbox == NULL);
    CHECK(heap->pool->superslabs == 0 && heap->empty_units == 0);
    heap->epoch_ms = fake_os.clock_ms;
    heap->pool->epoch.begin_ms = fake_os.clock_ms;
    return heap;
}

/* Recounts what lies in the heap; returns its free blocks of the class, in slabs and depot. */
static size_t check_heap(hk_heap_t *heap, unsigned class_index)
{
    size_t wanted = 0;
    size_t depot_bytes = 0;
    unsigned empty_units = 0;
    CHECK(!hk_lock_is_held(&heap->lock));
    for (unsigned c = 0; c < HK_CLASS_COUNT; c++) {
        hk_heap_class_t *class = &heap->classes[c];
        size_t blocks = 0;
        for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS; bucket++) {
            const hk_slab_t *before = NULL;
            for (const hk_slab_t *s = class->partial[bucket]; s != NULL; s = s->next) {
                CHECK(s->prev == before && s->bucket == bucket && s->heap == heap);
                CHECK(s->class_index == c && s->free_blocks > 0);
                unsigned set = 0;
                for (unsigned word = 0; word < (hk_class_info[c].block_count + 63u) / 64; word++)
                    set += (unsigned)__builtin_popcountll(s->bitmap[word]);
                CHECK(set == s->free_blocks && set <= hk_class_info[c].block_count);
                CHECK((set - 1) * HK_SLAB_BUCKETS / hk_class_info[c].block_count == bucket);
                blocks += set;
                before = s;
            }
        }
        for (const hk_slab_t *s = class->empty; s != NULL; s = s->next) {
            CHECK(s->free_blocks == hk_class_info[c].block_count && s->class_index == c);
            blocks += s->free_blocks;
            empty_units += s->units;
        }
        uint32_t count = 0;
        for (const hk_magazine_t *m = class->depot.stack; m != NULL; m = m->next) {
            blocks += m->count;
            depot_bytes += (size_t)m->count * bytes_of(c);
            count++;
        }
        CHECK(count == class->depot.count && class->depot.low_water <= count);
        wanted = c == class_index ? blocks : wanted;
    }
    CHECK(depot_bytes == heap->depot_bytes);
    CHECK(heap->units == heap->pool->used_units);
    CHECK(empty_units == heap->empty_units && empty_units <= HK_EMPTY_UNITS_MAX);
    CHECK(heap->lent_units >= HK_LENT_UNITS || empty_units <= HK_EMPTY_UNITS_MIN);
    return wanted;
}

/* A magazine as a cache takes it over. */
static hk_magazine_t *load(hk_heap_t *heap, unsigned class_index, hk_magazine_t *empty)
{
    hk_magazine_t *m = hk_heap_load(heap, class_index, empty, KIND);
    CHECK(m != NULL && m->count > 0 && m->count <= m->capacity);
    CHECK(m->capacity == hk_magazine_capacity(m->kind) && m->sentinel == NULL);
    for (unsigned i = 0; i < m->count; i++) {
        uintptr_t address = (uintptr_t)m->slot[i];
        const hk_slab_t *slab = hk_slab_find(m->slot[i]);
        CHECK(slab != NULL && slab->heap == heap && slab->class_index == class_index);
        CHECK(hk_slab_probe(slab, m->slot[i]) == HK_PUT_DONE); /* it is handed out */
        uint64_t tag = (uint64_t)heap->owner << HK_OWNER_SHIFT;
        CHECK((hk_registry_near(address) ^ address ^ tag) >> HK_UNIT_SHIFT == class_index);
        for (unsigned j = 0; j < i; j++)
            CHECK(m->slot[j] != m->slot[i]);
    }
    return m;
}

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
    CHECK(heap->spare_count[0] == 1 && heap->spare[0] == small);

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

/* Depots hold so much and no more: what comes then is dissolved on the spot. */
static void test_depot_limit(void)
{
    enum { COUNT = 300, LARGEST = 47 }; /* of 4 KiB */
    CHECK(bytes_of(LARGEST) == HK_DEPOT_BLOCK_BYTES);
    hk_heap_t *heap = new_heap();
    static hk_magazine_t *full[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        full[i] = load(heap, LARGEST, NULL);
    bool dissolved = false;
    for (size_t i = 0; i < COUNT; i++) {
        size_t limit = hk_policy_depot_bytes(heap->units * HK_UNIT_BYTES);
        bool room = heap->depot_bytes < limit;
        uint32_t count = heap->classes[LARGEST].depot.count;
        hk_magazine_t *empty = hk_heap_unload(heap, LARGEST, full[i], KIND);
        CHECK(empty->count == 0);
        CHECK((empty != full[i]) == room);
        CHECK(heap->classes[LARGEST].depot.count == count + room);
        CHECK(heap->depot_bytes < limit + full[i]->capacity * (size_t)bytes_of(LARGEST));
        dissolved = dissolved || !room;
        (void)check_heap(heap, LARGEST);
        hk_heap_dissolve(heap, empty);
    }
    CHECK(dissolved);
    hk_heap_reclaim(heap, 0); /* no block of the depots may be touched */
    CHECK(heap->depot_bytes > 0);
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->depot_bytes == 0 && heap->units == 0 && heap->pool->used_units == 0);
    (void)check_heap(heap, LARGEST);
    hk_heap_delete(heap);
}

/* Larger blocks go to their slabs once the depots are half full. */
static void test_depot_large_limit(void)
{
    enum { COUNT = 300, LARGEST = HK_CLASS_COUNT - 1 };
    hk_heap_t *heap = new_heap();
    static hk_magazine_t *full[COUNT];
    bool dissolved = false;
    for (size_t i = 0; i < COUNT; i++)
        full[i] = load(heap, LARGEST, NULL);
    for (size_t i = 0; i < COUNT; i++) {
        size_t limit = hk_policy_depot_bytes(heap->units * HK_UNIT_BYTES) / HK_DEPOT_LARGE_SHARE;
        bool room = heap->depot_bytes < limit;
        hk_magazine_t *empty = hk_heap_unload(heap, LARGEST, full[i], KIND);
        CHECK((empty != full[i]) == room);
        CHECK(heap->depot_bytes < limit + HK_MAGAZINE_BLOCKS_MIN * (size_t)HK_SMALL_MAX);
        dissolved = dissolved || !room;
        hk_heap_dissolve(heap, empty);
    }
    CHECK(dissolved);
    hk_heap_reclaim(heap, SIZE_MAX);
    (void)check_heap(heap, LARGEST);
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

/* Takes so many blocks of the class, and puts all of them back; returns the units in slabs
 * between. */
static uint64_t take_and_put(hk_heap_t *heap, unsigned class_index, size_t count)
{
    static void *blocks[HK_EMPTY_UNITS_MAX + 2 * HK_LENT_UNITS];
    CHECK(count <= sizeof blocks / sizeof blocks[0]);
    for (size_t i = 0; i < count; i++)
        CHECK((blocks[i] = hk_heap_take_block(heap, class_index)) != NULL);
    uint64_t units = heap->pool->used_units;
    for (size_t i = 0; i < count; i++)
        hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    (void)check_heap(heap, class_index);
    return units;
}

/* Of what a heap frees at once the pool gets its share first; the rest the heap keeps for its own
 * class, until the epoch ends or another class needs it. */
static void test_surplus(void)
{
    enum { LARGEST = HK_CLASS_COUNT - 1, COUNT = HK_LENT_UNITS + 300 }; /* a block a slab */
    hk_heap_t *heap = new_heap();
    CHECK(take_and_put(heap, LARGEST, COUNT) == COUNT);
    CHECK(heap->lent_units == HK_LENT_UNITS);
    CHECK(heap->empty_units == COUNT - heap->lent_units);
    CHECK(heap->pool->warm_units == heap->lent_units);

    /* They serve their class without the pool, */
    uint64_t own = heap->own_acquires;
    uint64_t warm = heap->pool->acquires[HK_STAGE_WARM];
    (void)take_and_put(heap, LARGEST, 200);
    CHECK(heap->own_acquires == own + 200 && heap->pool->acquires[HK_STAGE_WARM] == warm);

    /* and others before the pool takes what was never used. */
    uint64_t unused = heap->pool->acquires[HK_STAGE_UNUSED];
    uint64_t fresh = heap->pool->acquires[HK_STAGE_NEW];
    uint64_t units = take_and_put(heap, LARGEST - 1, HK_LENT_UNITS + 100);
    CHECK(units <= COUNT && heap->pool->superslabs > 0);
    CHECK(heap->pool->acquires[HK_STAGE_UNUSED] == unused);
    CHECK(heap->pool->acquires[HK_STAGE_NEW] == fresh);

    /* Never more than so many, */
    (void)take_and_put(heap, LARGEST, HK_EMPTY_UNITS_MAX + 2 * HK_LENT_UNITS);
    CHECK(heap->empty_units > HK_EMPTY_UNITS_MAX - 4 && heap->empty_units <= HK_EMPTY_UNITS_MAX);

    /* and all of them go when the epoch ends. */
    fake_os_advance(HK_DECAY_MS);
    CHECK(!hk_heap_decay(heap, fake_os.clock_ms));
    CHECK(heap->empty_units == 0 && heap->pool->used_units == 0);
    uint32_t lent = heap->lent_units;
    fake_os_advance(HK_DECAY_MS);
    CHECK(!hk_heap_decay(heap, fake_os.clock_ms));
    CHECK(heap->lent_units == lent / 2);
    hk_heap_delete(heap);

    /* A first-class heap has a pool of its own. */
    heap = hk_heap_new(HK_OWNER_NONE, NULL);
    CHECK(heap != NULL);
    (void)take_and_put(heap, LARGEST, COUNT);
    CHECK(heap->empty_units <= HK_EMPTY_UNITS_MIN);
    hk_heap_delete(heap);
}

/* Where one heap takes empty magazines and another keeps them, they come round, whole, and no more
 * are made. */
static void test_bundles(void)
{
    enum { MANY = 1000 };
    static hk_magazine_t *taken[MANY];
    hk_heap_t *takes = new_heap(), *keeps = new_heap();
    size_t metadata = 0;
    for (unsigned round = 0; round < 5 * HK_MAGAZINE_KINDS; round++) {
        unsigned kind = round % HK_MAGAZINE_KINDS;
        for (unsigned i = 0; i < MANY; i++) {
            hk_magazine_t *m = taken[i] = hk_heap_take_magazine(takes, kind);
            CHECK(m != NULL && m->kind == kind && m->capacity == hk_magazine_capacity(kind));
            CHECK(m->count == 0 && m->sentinel == NULL && m->next == NULL);
            CHECK(m->marks == HK_MARKS_CLEAR && takes->spare_count[kind] < 32);
            m->slot[m->capacity - 1] = m; /* seen again while it is taken: it was given out twice */
            m->class_index = (uint16_t)round;
        }
        for (unsigned i = 0; i < MANY; i++) {
            CHECK(taken[i]->slot[taken[i]->capacity - 1] == taken[i]);
            CHECK(taken[i]->class_index == round);
            taken[i]->slot[taken[i]->capacity - 1] = NULL;
            hk_heap_dissolve(keeps, taken[i]); /* nothing in it */
            CHECK(keeps->spare_count[kind] < 32);
        }
        if (round == HK_MAGAZINE_KINDS)
            metadata = hk_meta_bytes();
        CHECK(round < HK_MAGAZINE_KINDS || hk_meta_bytes() == metadata);
    }
    hk_heap_delete(takes);
    hk_heap_delete(keeps);
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

/* The live bits that are set in the units of a slab. */
static size_t count_live(const hk_slab_t *slab)
{
    size_t count = 0;
    for (size_t i = 0; i < (size_t)slab->units * HK_UNIT_BYTES; i += 16)
        count += hk_live_is_set(hk_slab_base(slab) + i);
    return count;
}

/* What other threads freed comes with its live bits set, and says so on every way back to a
 * cache. */
static void test_marks(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *tiny = load(heap, TINY, NULL), *medium = load(heap, MEDIUM, NULL);
    hk_slab_t *slab = hk_slab_find(tiny->slot[0]);
    CHECK(tiny->marks == HK_MARKS_CLEAR && medium->marks == HK_MARKS_CLEAR);
    CHECK(count_live(slab) == 0);
    for (unsigned i = 0; i < tiny->count; i++)
        hk_live_set(tiny->slot[i]);
    for (unsigned i = 0; i < medium->count; i++)
        hk_live_set(medium->slot[i]);

    /* Of one class, and sorted out of a mixed one: never into a magazine of other marks. */
    hk_magazine_t *own = load(heap, TINY, NULL);
    hk_magazine_t *rest = hk_heap_take_magazine(heap, KIND);
    while (rest->count < 3) /* makes room for more */
        rest->slot[rest->count++] = own->slot[--own->count];
    own->class_index = TINY;
    hk_magazine_t *after = hk_heap_unload(heap, TINY, own, KIND);
    CHECK(heap->classes[TINY].depot.stack == own && own->marks == HK_MARKS_CLEAR);
    hk_magazine_t *mixed = hk_heap_take_magazine(heap, KIND);
    CHECK(mixed->marks == HK_MARKS_CLEAR);
    mixed->class_index = HK_MAGAZINE_MIXED;
    mixed->marks = HK_MARKS_SET;
    mixed->slot[0] = tiny->slot[--tiny->count];
    mixed->slot[1] = medium->slot[--medium->count];
    mixed->count = 2;
    tiny->class_index = TINY;
    tiny->marks = HK_MARKS_SET;
    unsigned tiny_count = tiny->count;
    hk_heap_hand_over(heap, tiny);
    hk_heap_hand_over(heap, mixed);
    hk_magazine_t *first = load(heap, TINY, NULL), *second = load(heap, TINY, NULL);
    CHECK(first->marks == HK_MARKS_SET && second->marks == HK_MARKS_SET);
    CHECK(first->count + second->count == tiny_count + 1u);
    CHECK(load(heap, TINY, NULL) == own && own->marks == HK_MARKS_CLEAR);
    hk_magazine_t *sorted = load(heap, MEDIUM, NULL);
    CHECK(sorted->marks == HK_MARKS_SET && sorted->count == 1);

    /* Dissolved, the slab remembers: what is taken out of it may have set bits. */
    CHECK(slab->unsettled == 0);
    hk_heap_dissolve(heap, own);
    hk_heap_dissolve(heap, rest);
    CHECK(slab->unsettled == 0);
    hk_heap_dissolve(heap, first);
    CHECK(slab->unsettled == 1 && count_live(slab) == tiny_count + 1u);
    hk_magazine_t *again = load(heap, TINY, NULL);
    CHECK(again->marks == HK_MARKS_MIXED);
    hk_heap_dissolve(heap, again);
    hk_heap_dissolve(heap, second);
    hk_heap_dissolve(heap, sorted);
    medium->marks = HK_MARKS_SET; /* as if others had freed these too */
    hk_heap_dissolve(heap, medium);
    hk_heap_dissolve(heap, after);

    /* Given back, nothing is left of it. */
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->pool->used_units == 0 && slab->unsettled == 0);
    slab->units = 1; /* only to count once more */
    CHECK(count_live(slab) == 0);
    slab->units = 0;
    again = load(heap, TINY, NULL);
    CHECK(hk_slab_find(again->slot[0]) == slab && again->marks == HK_MARKS_CLEAR);
    hk_heap_dissolve(heap, again);
    hk_heap_delete(heap);
}

/* Threads that share a heap may set a bit again that a free has cleared, and nobody notes it: the
 * slab's next heap must not find it. */
static void test_stale_bits(void)
{
    hk_heap_t *heap = new_heap();
    for (unsigned c = 0; c < HK_CLASS_COUNT; c += 7) {
        hk_magazine_t *m = load(heap, c, NULL);
        hk_slab_t *slab = hk_slab_find(m->slot[0]);
        char *base = hk_slab_base(slab);
        unsigned units = slab->units;
        for (unsigned i = 0; i < m->count; i++)
            hk_live_set(m->slot[i]);
        hk_heap_dissolve(heap, m);
        hk_heap_reclaim(heap, SIZE_MAX);
        CHECK(heap->pool->used_units == 0);
        for (size_t i = 0; i < units * (size_t)HK_UNIT_BYTES; i += 16)
            CHECKF(!hk_live_is_set(base + i), " (class %u, offset %zu)", c, i);
    }
    hk_heap_delete(heap);
}

/* A block past all magazines is live if it is a thread's heap's; free needs no bit there, since the
 * slab's bitmap answers. */
static void test_single_bits(void)
{
    hk_heap_t *heap = new_heap();
    void *block = hk_heap_take_block(heap, TINY);
    void *keep = hk_heap_take_block(heap, TINY);
    hk_slab_t *slab = hk_slab_find(block);
    CHECK(hk_live_is_set(block) && hk_live_is_set(keep) && count_live(slab) == 2);
    hk_heap_put_block(heap, slab, block);
    CHECK(slab->unsettled == 1 && hk_live_is_set(keep));
    hk_heap_delete(heap);

    heap = hk_heap_new(HK_OWNER_NONE, NULL); /* a first-class heap's blocks have no live bits */
    block = hk_heap_take_block(heap, TINY);
    keep = hk_heap_take_block(heap, TINY);
    slab = hk_slab_find(block);
    hk_heap_put_block(heap, slab, block);
    CHECK(slab->unsettled == 0);
    hk_heap_put_block(heap, slab, keep);
    hk_heap_reclaim(heap, SIZE_MAX);
    hk_live_word_t *words = hk_live_word(slab->superslab->base);
    for (size_t i = 0; i < HK_LIVE_BYTES / sizeof *words; i++)
        CHECK(words[i] == 0);
    hk_heap_delete(heap);
}

static void test_hand_over(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *one = load(heap, TINY, NULL);
    hk_magazine_t *two = load(heap, MEDIUM, NULL);
    unsigned one_count = one->count;

    /* Of one class: the next load gets it as it is. */
    one->class_index = TINY;
    hk_heap_hand_over(heap, one);
    CHECK(heap->inbox == one && heap->inbox_count == 1 && heap->inbox_magazines == 0);
    CHECK(heap->classes[TINY].depot.count == 0);
    CHECK(load(heap, TINY, NULL) == one);
    CHECK(one->count == one_count && one->next == NULL);
    CHECK(heap->inbox == NULL && heap->inbox_count == 0 && heap->inbox_magazines == 1);

    /* Mixed: its blocks go into their slabs. */
    hk_magazine_t *mixed = hk_heap_take_magazine(heap, KIND);
    mixed->class_index = HK_MAGAZINE_MIXED;
    mixed->slot[0] = one->slot[--one->count];
    mixed->slot[1] = two->slot[--two->count];
    mixed->count = 2;
    size_t tiny_before = check_heap(heap, TINY), medium_before = check_heap(heap, MEDIUM);
    hk_heap_hand_over(heap, mixed);
    hk_magazine_t *other = load(heap, MEDIUM + 1, NULL); /* any load drains */
    CHECK(heap->inbox == NULL && heap->inbox_magazines == 2);
    CHECK(check_heap(heap, TINY) == tiny_before + 1);
    CHECK(check_heap(heap, MEDIUM) == medium_before + 1);

    /* In any order, none lost; whoever makes it too long drains it. */
    hk_magazine_t *pushed[HK_INBOX_MAGAZINES + 1];
    for (unsigned i = 0; i <= HK_INBOX_MAGAZINES; i++) {
        pushed[i] = load(heap, MEDIUM, NULL);
        pushed[i]->class_index = MEDIUM;
    }
    for (unsigned i = 0; i < HK_INBOX_MAGAZINES; i++)
        hk_heap_hand_over(heap, pushed[i]);
    CHECK(heap->inbox_count == HK_INBOX_MAGAZINES && heap->inbox_magazines == 2);
    hk_heap_hand_over(heap, pushed[HK_INBOX_MAGAZINES]);
    CHECK(heap->inbox == NULL && heap->inbox_count == 0);
    CHECK(heap->inbox_magazines == 2 + HK_INBOX_MAGAZINES + 1);
    CHECK(heap->classes[MEDIUM].depot.count == HK_INBOX_MAGAZINES + 1);
    (void)check_heap(heap, MEDIUM);

    /* A held lock is nobody's to wait for. */
    hk_magazine_t *later = load(heap, MEDIUM, NULL);
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    heap->inbox_count = 2 * HK_INBOX_MAGAZINES;
    hk_heap_hand_over(heap, later);
    CHECK(heap->inbox == later);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->inbox == NULL && heap->classes[MEDIUM].depot.count == 0);
    hk_heap_dissolve(heap, one);
    hk_heap_dissolve(heap, two);
    hk_heap_dissolve(heap, other);
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->pool->used_units == 0 && heap->empty_units == 0);
    (void)check_heap(heap, MEDIUM);
    hk_heap_delete(heap);
}

enum { THREADS = 4, MAGAZINES = 2000 };

static hk_heap_t *target;
static _Atomic(hk_magazine_t *) supply[THREADS];

/* Each frees what the first thread has given it. */
static void *hand_over_many(void *argument)
{
    _Atomic(hk_magazine_t *) *mine = argument;
    for (int done = 0; done < MAGAZINES;) {
        hk_magazine_t *m = atomic_exchange(mine, NULL);
        if (m == NULL) {
            sched_yield();
            continue;
        }
        hk_heap_hand_over(target, m);
        done++;
    }
    return NULL;
}

static void test_hand_over_threads(void)
{
    pthread_t threads[THREADS];
    target = new_heap();
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(hand_over_many, &supply[i]);
    int given[THREADS] = {0};
    for (int left = THREADS * MAGAZINES; left > 0;) {
        bool waited = true;
        for (size_t i = 0; i < THREADS; i++) {
            if (given[i] < MAGAZINES && atomic_load(&supply[i]) == NULL) {
                hk_magazine_t *m = hk_heap_load(target, MEDIUM, NULL, KIND);
                CHECK(m != NULL && m->count > 0);
                m->class_index = left % 3 == 0 ? HK_MAGAZINE_MIXED : MEDIUM;
                atomic_store(&supply[i], m);
                given[i]++;
                left--;
                waited = false;
            }
        }
        if (waited)
            sched_yield();
    }
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    hk_heap_reclaim(target, SIZE_MAX);
    CHECK(target->inbox == NULL && target->inbox_magazines == THREADS * MAGAZINES);
    CHECK(target->pool->used_units == 0);
    (void)check_heap(target, MEDIUM);
    hk_heap_delete(target);
}

/* So many full magazines into the depot. */
static void stock(hk_heap_t *heap, unsigned class_index, unsigned count)
{
    hk_magazine_t *full[200];
    for (unsigned i = 0; i < count; i++)
        full[i] = load(heap, class_index, NULL);
    for (unsigned i = 0; i < count; i++)
        hk_heap_dissolve(heap, hk_heap_unload(heap, class_index, full[i], 0));
}

static void test_decay(void)
{
    hk_heap_t *heap = new_heap();
    hk_depot_t *depot = &heap->classes[TINY].depot;
    stock(heap, TINY, 10);
    CHECK(depot->count == 10 && depot->low_water == 0);

    hk_heap_decay(heap, fake_os.clock_ms + HK_DECAY_MS - 1); /* too early */
    CHECK(depot->count == 10 && depot->low_water == 0);

    /* The first epoch began without them. */
    fake_os_advance(HK_DECAY_MS);
    hk_heap_decay(heap, fake_os.clock_ms);
    CHECK(depot->count == 10 && depot->low_water == 10 && heap->epoch_ms == fake_os.clock_ms);
    hk_heap_decay(heap, fake_os.clock_ms);
    CHECK(depot->count == 10);

    /* Three are in use at times: those are the working set, the others go. */
    hk_magazine_t *used[3];
    for (int i = 0; i < 3; i++)
        used[i] = load(heap, TINY, NULL);
    CHECK(depot->low_water == 7);
    for (int i = 0; i < 3; i++)
        hk_heap_dissolve(heap, hk_heap_unload(heap, TINY, used[i], 0));
    CHECK(depot->count == 10 && depot->low_water == 7);
    fake_os_advance(HK_DECAY_MS);
    hk_heap_decay(heap, fake_os.clock_ms);
    CHECKF(depot->count == 3 && depot->low_water == 3, " (%u in it, low water %u)", depot->count,
           depot->low_water);
    (void)check_heap(heap, TINY);

    /* Left alone, all go, and the empty slabs with them. */
    for (int epoch = 0; epoch < 2; epoch++) {
        fake_os_advance(HK_DECAY_MS);
        hk_heap_decay(heap, fake_os.clock_ms);
    }
    CHECK(depot->count == 0 && heap->empty_units == 0);
    CHECK(heap->pool->used_units == 0);

    /* Each step is bounded. */
    stock(heap, TINY, 100);
    fake_os_advance(HK_DECAY_MS);
    hk_heap_decay(heap, fake_os.clock_ms);
    CHECK(depot->count == 100);
    for (unsigned expected = 68; expected != 4 - 32u; expected -= 32) {
        fake_os_advance(HK_DECAY_MS);
        hk_heap_decay(heap, fake_os.clock_ms);
        CHECK(depot->count == expected);
    }

    /* A held lock is passed by; the inbox is drained. */
    hk_magazine_t *m = load(heap, TINY, NULL);
    m->class_index = TINY;
    hk_heap_hand_over(heap, m);
    fake_os_advance(HK_DECAY_MS);
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    uint64_t epoch_ms = heap->epoch_ms;
    hk_heap_decay(heap, fake_os.clock_ms);
    CHECK(heap->epoch_ms == epoch_ms && heap->inbox == m);
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
    hk_heap_decay(heap, fake_os.clock_ms);
    CHECK(heap->inbox == NULL && heap->epoch_ms == fake_os.clock_ms);
    (void)check_heap(heap, TINY);
    hk_heap_delete(heap);
}

static void test_reclaim(void)
{
    hk_heap_t *heap = new_heap();
    for (size_t i = 0; i < HK_NEAR_ENTRIES; i++)
        hk_near[i] = 0; /* of heaps deleted before, whose like has no entries outside this test */
    for (unsigned c = 0; c < HK_CLASS_COUNT; c += 3)
        stock(heap, c, 1 + c % 5);
    hk_magazine_t *live = load(heap, TINY, NULL);
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->pool->used_units == 1 && heap->empty_units == 0); /* the live one's slab */
    CHECK(check_heap(heap, TINY) == hk_class_info[TINY].block_count - (size_t)live->count);
    hk_heap_dissolve(heap, live);
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->pool->used_units == 0);
    for (size_t i = 0; i < HK_NEAR_ENTRIES; i++)
        CHECK(hk_near[i] == 0);
    hk_heap_delete(heap);
}

static void test_no_memory(void)
{
    hk_heap_t *heap = new_heap();
    hk_magazine_t *empty = hk_heap_take_magazine(heap, KIND);
    CHECK(empty != NULL);

    /* No slab to be had: the empty magazine stays with the caller. */
    fake_os_fail_after(0);
    CHECK(hk_heap_load(heap, TINY, empty, KIND) == NULL);
    CHECK(hk_heap_load(heap, TINY, NULL, KIND) == NULL);
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
    hk_magazine_t *loaded = hk_heap_load(heap, TINY, small, KIND);
    CHECK(loaded == small && loaded->count > 0 && loaded->count <= hk_magazine_capacity(0));
    CHECK(hk_heap_load(heap, TINY, NULL, KIND) == NULL);
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
        (void)hk_large_decay(UINT64_MAX);
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
    hk_heap_hand_over(heap, m);
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
    test_depot_limit();
    test_depot_large_limit();
    test_dissolve();
    test_surplus();
    test_single_blocks();
    test_marks();
    test_stale_bits();
    test_single_bits();
    test_hand_over();
    test_hand_over_threads();
    test_reclaim();
    test_delete();
    test_no_memory();
    test_bundles();
    test_reset();
    test_decay();
    return 0;
}
