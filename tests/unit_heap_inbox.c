/*
 * Blocks that other threads free: what their live bits say on the way, and magazines that are
 * handed over, by several threads at once too.
 */
#include "heap_checks.h"

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
    hk_heap_hand_over(heap, tiny, 0);
    hk_heap_hand_over(heap, mixed, 0);
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
    hk_store_relaxed(&heap->shared, true);
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
    hk_heap_hand_over(heap, one, 0);
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
    hk_heap_hand_over(heap, mixed, 0);
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
        hk_heap_hand_over(heap, pushed[i], 0);
    CHECK(heap->inbox_count == HK_INBOX_MAGAZINES && heap->inbox_magazines == 2);
    hk_heap_hand_over(heap, pushed[HK_INBOX_MAGAZINES], 0);
    CHECK(heap->inbox == NULL && heap->inbox_count == 0);
    CHECK(heap->inbox_magazines == 2 + HK_INBOX_MAGAZINES + 1);
    CHECK(heap->classes[MEDIUM].depot.count > 0); /* as many as depots hold; that none is lost */
    (void)check_heap(heap, MEDIUM);               /* shows at the end */

    /* A held lock is nobody's to wait for. */
    hk_magazine_t *later = load(heap, MEDIUM, NULL);
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    heap->inbox_count = 2 * HK_INBOX_MAGAZINES;
    hk_heap_hand_over(heap, later, 0);
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
        hk_heap_hand_over(target, m, 0);
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
                hk_magazine_t *m = hk_heap_load(target, MEDIUM, NULL, KIND, MOST);
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

int main(void)
{
    test_marks();
    test_stale_bits();
    test_single_bits();
    test_hand_over();
    test_hand_over_threads();
    return 0;
}
