/*
 * What the tests of the heap share: a heap of its own kind for each case, its recount, and
 * magazines as a cache takes them over.
 */
#ifndef HAKMEM_HEAP_CHECKS_H
#define HAKMEM_HEAP_CHECKS_H

#include "test.h"

#include "fake_os.h"
#include "heap.h"

enum { TINY = 0, MEDIUM = 39, KIND = HK_MAGAZINE_KINDS - 1, MOST = UINT16_MAX };

static inline uint32_t bytes_of(unsigned class_index)
{
    return hk_class_info[class_index].block_bytes;
}

static inline hk_heap_t *new_heap(void)
{
    hk_heap_t *heap = hk_heap_new(5, NULL); /* an owner's number, so that the near table is used */
    CHECK(heap != NULL && heap->owner == 5 && heap->pool != NULL && heap->inbox == NULL);
    CHECK(heap->pool->superslabs == 0 && heap->empty_units == 0);
    heap->epoch_ms = fake_os.clock_ms;
    heap->pool->epoch.begin_ms = fake_os.clock_ms;
    return heap;
}

/* Recounts what lies in the heap; returns its free blocks of the class, in slabs and depot. */
static inline size_t check_heap(hk_heap_t *heap, unsigned class_index)
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
    CHECK(heap->free_low_water <= heap->free_bytes);
    CHECK(empty_units == heap->empty_units && empty_units <= HK_EMPTY_UNITS_MAX);
    CHECK(heap->given_units >= HK_GIVEN_UNITS_MIN || empty_units <= HK_EMPTY_UNITS_MIN);
    return wanted;
}

/* A magazine as a cache takes it over. */
static inline hk_magazine_t *load(hk_heap_t *heap, unsigned class_index, hk_magazine_t *empty)
{
    hk_magazine_t *m = hk_heap_load(heap, class_index, empty, KIND, MOST);
    CHECK(m != NULL && m->count > 0 && m->count <= m->capacity);
    CHECK(m->capacity == hk_magazine_capacity(m->kind));
    CHECK(m->next == NULL && m->slot[m->capacity] == HK_MAGAZINE_END);
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

#endif
