/*
 * A heap's depots: how much they may hold, what an epoch and a reclaim dissolve, and spare
 * magazines.
 */
#include "heap_checks.h"

#include "meta.h"

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

/* Nor does it matter who filled a magazine: what other heaps' threads send, all of one class, is
 * held to the same. */
static void test_depot_limit_of_inbox(void)
{
    enum { COUNT = 1000, CLASS = 47 };
    hk_heap_t *heap = new_heap();
    static hk_magazine_t *full[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        full[i] = load(heap, CLASS, NULL);
    size_t limit = hk_policy_depot_bytes(heap->units * HK_UNIT_BYTES);
    for (size_t i = 0; i < COUNT; i++) {
        size_t bytes = full[i]->count * (size_t)bytes_of(CLASS);
        full[i]->class_index = CLASS;
        hk_heap_hand_over(heap, full[i], bytes);
        CHECK(heap->depot_bytes < limit + bytes);
        (void)check_heap(heap, CLASS);
    }
    hk_heap_reclaim(heap, 0); /* takes in what is in the inbox still */
    CHECK(heap->depot_bytes > 0 && heap->depot_bytes < limit + 16 * (size_t)bytes_of(CLASS));
    hk_heap_reclaim(heap, SIZE_MAX);
    CHECK(heap->depot_bytes == 0 && heap->units == 0 && heap->pool->used_units == 0);
    hk_heap_delete(heap);
}

/* Larger blocks go to their slabs. */
static void test_depot_large(void)
{
    enum { COUNT = 30, LARGEST = HK_CLASS_COUNT - 1 };
    hk_heap_t *heap = new_heap();
    static hk_magazine_t *full[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        full[i] = load(heap, LARGEST, NULL);
        CHECK(full[i]->count > 0 && full[i]->count <= hk_policy_class[LARGEST].load_blocks);
    }
    for (size_t i = 0; i < COUNT; i++) {
        hk_magazine_t *empty = hk_heap_unload(heap, LARGEST, full[i], KIND);
        CHECK(empty == full[i] && heap->depot_bytes == 0);
        hk_heap_dissolve(heap, empty);
    }
    hk_heap_reclaim(heap, SIZE_MAX);
    (void)check_heap(heap, LARGEST);
    hk_heap_delete(heap);
}

/* Takes so many blocks of the class, and puts all of them back; returns the units in slabs
 * between. */
static uint64_t take_and_put(hk_heap_t *heap, unsigned class_index, size_t count)
{
    static void *blocks[HK_EMPTY_UNITS_MAX + 2 * HK_GIVEN_UNITS_MAX];
    CHECK(count <= sizeof blocks / sizeof blocks[0]);
    for (size_t i = 0; i < count; i++)
        CHECK((blocks[i] = hk_heap_take_block(heap, class_index)) != NULL);
    uint64_t units = heap->pool->used_units;
    for (size_t i = 0; i < count; i++)
        hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    (void)check_heap(heap, class_index);
    return units;
}

/* Kept empty slabs fill a magazine, though each has but one block; others give load_blocks. */
static void test_load_kept(void)
{
    enum { LARGEST = HK_CLASS_COUNT - 1, KEPT = 10, FEW = 4 };
    hk_heap_t *heap = new_heap();
    CHECK(hk_policy_class[LARGEST].load_blocks < FEW);
    (void)take_and_put(heap, LARGEST, HK_GIVEN_UNITS_MIN + KEPT);
    CHECK(heap->empty_units == KEPT);
    uint64_t own = heap->own_acquires;
    hk_magazine_t *m = hk_heap_load(heap, LARGEST, NULL, KIND, FEW);
    CHECK(m != NULL && m->count == FEW && heap->empty_units == KEPT - FEW);
    CHECK(heap->own_acquires == own + FEW);
    (void)check_heap(heap, LARGEST);
    hk_magazine_t *rest = load(heap, LARGEST, NULL);
    CHECK(rest->count == KEPT - FEW && heap->empty_units == 0);
    hk_magazine_t *more = load(heap, LARGEST, NULL);
    CHECK(more->count <= hk_policy_class[LARGEST].load_blocks);
    (void)check_heap(heap, LARGEST);
    hk_heap_dissolve(heap, m);
    hk_heap_dissolve(heap, rest);
    hk_heap_dissolve(heap, more);

    /* A slab that is not used up is one of the partial ones. */
    unsigned eighths = hk_class_of_aligned(HK_UNIT_BYTES / 8, 1);
    CHECK(hk_class_info[eighths].block_count == 8 && hk_class_info[eighths].units == 1);
    (void)take_and_put(heap, eighths, (size_t)8 * (HK_GIVEN_UNITS_MIN + KEPT));
    size_t kept = heap->empty_units;
    m = hk_heap_load(heap, eighths, NULL, KIND, 9);
    CHECK(m != NULL && m->count == 9 && heap->empty_units == kept - 2);
    (void)check_heap(heap, eighths);

    /* As long as slabs in use have enough, the kept ones stay whole. */
    static void *blocks[8 * 8];
    unsigned few = hk_policy_class[eighths].load_blocks;
    CHECK(few < TEST_COUNT(blocks) / 2);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        CHECK((blocks[i] = hk_heap_take_block(heap, eighths)) != NULL);
    for (size_t i = 0; i < TEST_COUNT(blocks); i += 2)
        hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    (void)take_and_put(heap, eighths, (size_t)8 * (HK_GIVEN_UNITS_MIN + KEPT));
    kept = heap->empty_units;
    CHECK(kept > 0);
    rest = hk_heap_load(heap, eighths, NULL, KIND, MOST);
    CHECKF(rest != NULL && rest->count == few && heap->empty_units == kept, " (%zu of %zu)",
           (size_t)heap->empty_units, kept);
    (void)check_heap(heap, eighths);
    hk_heap_dissolve(heap, m);
    hk_heap_dissolve(heap, rest);
    for (size_t i = 1; i < TEST_COUNT(blocks); i += 2)
        hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    hk_heap_delete(heap);
}

/* Slabs that come and go do not make what was free all the time any less. */
static void test_low_water(void)
{
    enum { LARGEST = HK_CLASS_COUNT - 1, COUNT = 64, TURNS = 10 };
    static void *blocks[COUNT];
    hk_heap_t *heap = new_heap();
    unsigned eighths = hk_class_of_aligned(HK_UNIT_BYTES / 8, 1);
    for (size_t i = 0; i < COUNT; i++)
        CHECK((blocks[i] = hk_heap_take_block(heap, eighths)) != NULL);
    for (size_t i = 0; i < COUNT; i += 2)
        hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    size_t unused = heap->free_bytes;
    CHECK(unused == COUNT / 2 * bytes_of(eighths));
    heap->free_low_water = unused; /* as if an epoch had just begun */
    for (int i = 0; i < TURNS; i++)
        (void)take_and_put(heap, LARGEST, 3 * HK_GIVEN_UNITS_MIN / 4);
    CHECKF(heap->free_low_water == unused, " (%zu of %zu)", (size_t)heap->free_low_water, unused);
    for (size_t i = 1; i < COUNT; i += 2)
        hk_heap_put_block(heap, hk_slab_find(blocks[i]), blocks[i]);
    hk_heap_delete(heap);
}

/* Of what a heap frees at once the pool gets its share first; the rest the heap keeps for its own
 * class, until the epoch ends or another class needs it. */
static void test_surplus(void)
{
    enum { LARGEST = HK_CLASS_COUNT - 1, COUNT = 640 }; /* a block a slab */
    hk_heap_t *heap = new_heap();
    CHECK(take_and_put(heap, LARGEST, COUNT) == COUNT);
    CHECK(heap->given_units > HK_GIVEN_UNITS_MIN && heap->given_units <= COUNT / 16);
    CHECK(heap->given_units == hk_policy_given_units(heap->units));
    CHECK(hk_heap_sparse_bytes(heap) == 0); /* kept empty slabs are counted as what they are */
    CHECK(heap->empty_units == COUNT - heap->given_units);
    CHECK(heap->pool->warm_units == heap->given_units);

    /* They serve their class without the pool, */
    uint64_t own = heap->own_acquires;
    uint64_t warm = heap->pool->acquires[HK_STAGE_WARM];
    (void)take_and_put(heap, LARGEST, 200);
    CHECK(heap->own_acquires == own + 200 && heap->pool->acquires[HK_STAGE_WARM] == warm);

    /* and others before the pool takes what was never used. */
    uint64_t unused = heap->pool->acquires[HK_STAGE_UNUSED];
    uint64_t fresh = heap->pool->acquires[HK_STAGE_NEW];
    uint64_t units = take_and_put(heap, LARGEST - 1, COUNT / 3);
    CHECK(units <= COUNT && heap->pool->superslabs > 0);
    CHECK(heap->pool->acquires[HK_STAGE_UNUSED] == unused);
    CHECK(heap->pool->acquires[HK_STAGE_NEW] == fresh);

    /* Never more than so many, */
    (void)take_and_put(heap, LARGEST, HK_EMPTY_UNITS_MAX + 2 * HK_GIVEN_UNITS_MAX);
    CHECK(heap->empty_units > HK_EMPTY_UNITS_MAX - 4 && heap->empty_units <= HK_EMPTY_UNITS_MAX);

    /* of which some go where so many are asked for, */
    size_t kept = heap->empty_units;
    CHECK(hk_heap_release_empties(heap, 0) == 0 && heap->empty_units == kept);
    heap->free_low_water = heap->free_bytes; /* as if an epoch had just begun */
    CHECK(hk_heap_release_empties(heap, 10) == 10 && heap->empty_units == kept - 10);
    CHECK(heap->free_low_water == heap->free_bytes); /* what has gone was not left unused */
    hk_heap_reclaim(heap, 0);
    CHECK(heap->empty_units == kept - 10 - HK_EMPTY_STEP_UNITS);
    CHECK(heap->pool->used_units == heap->empty_units);

    /* and all of them go when the epoch ends. */
    fake_os_advance(HK_DECAY_MS);
    CHECK(!hk_heap_decay(heap, fake_os.clock_ms));
    CHECK(heap->empty_units == 0 && heap->pool->used_units == 0);
    uint32_t lent = heap->given_units;
    fake_os_advance(HK_DECAY_MS);
    CHECK(!hk_heap_decay(heap, fake_os.clock_ms));
    CHECK(heap->given_units == lent / 2);
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
            CHECK(m->count == 0 && m->next == NULL && m->slot[m->capacity] == HK_MAGAZINE_END);
            CHECK(m->marks == HK_MARKS_CLEAR && takes->spare_count[kind] < 32);
            m->slot[m->capacity - 1] = m; /* seen again while it is taken: it was given out twice */
            m->class_index = (uint16_t)round;
        }
        for (unsigned i = 0; i < MANY; i++) {
            CHECK(taken[i]->slot[taken[i]->capacity - 1] == taken[i]);
            CHECK(taken[i]->class_index == round);
            taken[i]->slot[taken[i]->capacity - 1] = NULL;
            if (i % 2 == 0) /* as a class does that has fewer blocks than slots */
                hk_magazine_set_capacity(taken[i], 2);
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
    hk_heap_decay(heap, fake_os.clock_ms - 1); /* by a thread that looked at the clock before */
    CHECK(depot->count == 10 && heap->epoch_ms == fake_os.clock_ms);

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
    hk_heap_hand_over(heap, m, 0);
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

int main(void)
{
    test_depot_limit();
    test_depot_limit_of_inbox();
    test_depot_large();
    test_load_kept();
    test_low_water();
    test_surplus();
    test_bundles();
    test_decay();
    test_reclaim();
    return 0;
}
