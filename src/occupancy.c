/*
 * occupancy: see occupancy.h.
 */
#include "occupancy.h"

#include "os.h"
#include "path.h"

/* When free bytes between live blocks are worth a table: from 1 MiB on, below which the process has
 * other costs, and from a twentieth of what is committed on, for every program has some.  It is
 * their sum that counts, since the blocks of many classes may lie so.  A class with less than a
 * hundredth of the sum explains nothing.  There are fewer classes than a hundred, so that one of
 * them always has more. */
enum {
    NOTICEABLE_BYTES = 1 << 20,
    NOTICEABLE_PERCENT = 5,
    CLASS_PERCENT = 1,
};

static_assert(HK_CLASS_COUNT * CLASS_PERCENT < 100, "the worst class is always worth a line");

/* ---- Collecting ---- */

static void add_partial(hk_occupancy_class_t *class, const hk_slab_t *slab)
{
    for (; slab != NULL; slab = slab->next) {
        class->free_bytes += slab->free_blocks * class->block_bytes;
        class->hole_bytes += slab->hole_pages * hk_os_page_bytes();
    }
}

static void add_empty(hk_occupancy_class_t *class, const hk_slab_t *slab)
{
    for (; slab != NULL; slab = slab->next) {
        class->free_bytes += slab->free_blocks * class->block_bytes;
        class->empty_bytes += slab->free_blocks * class->block_bytes;
    }
}

static void add_heap(hk_heap_t *heap, void *context)
{
    hk_occupancy_t *occupancy = context;
    hk_lock_acquire(&heap->lock, HK_RANK_HEAP);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        hk_occupancy_class_t *class = &occupancy->classes[class_index];
        for (unsigned bucket = 0; bucket < HK_SLAB_BUCKETS; bucket++) {
            add_partial(class, heap->classes[class_index].partial[bucket]);
        }
        add_empty(class, heap->classes[class_index].empty);
    }
    hk_lock_release(&heap->lock, HK_RANK_HEAP);
}

static void add_superslab(hk_occupancy_t *occupancy, const hk_superslab_t *superslab)
{
    for (unsigned unit = 0; unit < HK_SUPERSLAB_UNITS; unit++) {
        const hk_slab_t *slab = &superslab->slabs[unit];
        if (slab->units != 0) {
            hk_occupancy_class_t *class = &occupancy->classes[slab->class_index];
            class->slab_bytes += hk_class_info[slab->class_index].block_count * class->block_bytes;
        }
    }
}

/* Full slabs are in no list of their heaps, so the superslabs tell what slabs there are. */
static void add_pool(hk_pool_t *pool, void *context)
{
    hk_lock_acquire(&pool->lock, HK_RANK_POOL);
    for (unsigned list = 0; list <= HK_SLAB_UNITS_MAX; list++) {
        for (const hk_superslab_t *s = pool->by_free[list]; s != NULL; s = s->next) {
            add_superslab(context, s);
        }
    }
    hk_lock_release(&pool->lock, HK_RANK_POOL);
}

/* A slab that goes back between the looks at its heap and at its pool counts in one alone. */
static void reconcile(hk_occupancy_class_t *class)
{
    class->free_bytes = hk_least(class->free_bytes, class->slab_bytes);
    class->empty_bytes = hk_least(class->empty_bytes, class->free_bytes);
    class->hole_bytes = hk_least(class->hole_bytes, class->free_bytes - class->empty_bytes);
}

void hk_occupancy_collect(hk_occupancy_t *occupancy)
{
    *occupancy = (hk_occupancy_t){0};
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        occupancy->classes[class_index].block_bytes = hk_class_info[class_index].block_bytes;
    }
    hk_cache_t *cache;
    if (!hk_path_enter(&cache)) {
        return; /* a fork is under way: a report is no malloc and may be empty */
    }
    hk_heaps_each(add_heap, add_pool, occupancy);
    hk_path_leave(cache);
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        reconcile(&occupancy->classes[class_index]);
    }
}

/* ---- The worst ---- */

/* Puts the class into its place among the worst so far, of which the last may go; returns how many
 * there are then. */
static unsigned insert(const hk_occupancy_t *occupancy, unsigned *worst, unsigned count,
                       unsigned class_index)
{
    uint64_t bytes = hk_occupancy_between_bytes(&occupancy->classes[class_index]);
    unsigned place = count;
    while (place > 0 && hk_occupancy_between_bytes(&occupancy->classes[worst[place - 1]]) < bytes) {
        place--;
    }
    if (place == HK_OCCUPANCY_WORST_MAX) {
        return count;
    }
    count += count < HK_OCCUPANCY_WORST_MAX;
    for (unsigned i = count - 1; i > place; i--) {
        worst[i] = worst[i - 1];
    }
    worst[place] = class_index;
    return count;
}

unsigned hk_occupancy_find_worst(const hk_occupancy_t *occupancy, uint64_t committed_bytes,
                                 unsigned worst[HK_OCCUPANCY_WORST_MAX])
{
    uint64_t sum = 0;
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        sum += hk_occupancy_between_bytes(&occupancy->classes[class_index]);
    }
    if (sum < NOTICEABLE_BYTES || sum < committed_bytes / 100 * NOTICEABLE_PERCENT) {
        return 0;
    }
    unsigned count = 0;
    for (unsigned class_index = 0; class_index < HK_CLASS_COUNT; class_index++) {
        uint64_t bytes = hk_occupancy_between_bytes(&occupancy->classes[class_index]);
        if (bytes >= sum / 100 * CLASS_PERCENT) {
            count = insert(occupancy, worst, count, class_index);
        }
    }
    return count;
}
