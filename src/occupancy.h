/*
 * occupancy: how full the slabs of each size class are, for reports.
 *
 * Every pool and every heap is read under its lock, one after the other.  While others are at work
 * each figure is exact for the moment it was read, and the sums are not.  One step for each unit of
 * a superslab and for each slab with free blocks; no system call, and no memory.
 */
#ifndef HK_OCCUPANCY_H
#define HK_OCCUPANCY_H

#include "base.h"
#include "sizeclass.h"
#include "stats.h"

enum { HK_OCCUPANCY_WORST_MAX = 5 };

/* What is free is at most what the slabs have, and its two parts are at most what is free. */
typedef struct hk_occupancy_class {
#define X(field, is_large, heading) uint64_t field;
    HK_OCCUPANCY_TABLE(X)
#undef X
} hk_occupancy_class_t;

typedef struct hk_occupancy {
    hk_occupancy_class_t classes[HK_CLASS_COUNT];
} hk_occupancy_t;

/* Reads all heaps.  Without slabs, and while a fork is under way, all figures are 0 but the blocks'
 * sizes. */
void hk_occupancy_collect(hk_occupancy_t *occupancy);

/* Finds the classes with most bytes between their live blocks, the worst first; returns how many.
 * There is none unless such bytes are a noticeable part of what is committed. */
unsigned hk_occupancy_find_worst(const hk_occupancy_t *occupancy, uint64_t committed_bytes,
                                 unsigned worst[HK_OCCUPANCY_WORST_MAX]);

/* Free between live blocks of a slab, and not given back: what only the program can make less. */
static inline uint64_t hk_occupancy_between_bytes(const hk_occupancy_class_t *class)
{
    return class->free_bytes - class->empty_bytes - class->hole_bytes;
}

#endif
