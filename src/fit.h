/*
 * fit: a class of its own for a size that a program asks for most.
 *
 * Buffers are a power of two and a header, objects are one structure: a request of 4112 bytes wastes a tenth of a block of 4608.
 * Each thread's slow paths vote, class by class, by Boyer and Moore's majority vote (1981): one candidate and a count, which
 * equal sizes raise and others lower.  Once a size is far ahead in a class of which the process has so much that it pays
 * (hk_policy_wants_fit), a fitted class is made for it, for good.
 *
 * What lies free in the parent's slabs still serves the fitted class before that gets a slab (hk_heap_load): a program that
 * replaces its blocks rather than growing strands nothing in the parent.
 */
#ifndef HK_FIT_H
#define HK_FIT_H

#include "sizeclass.h"

/* Below 256 bytes the base classes lie 16 apart: nothing fits better. */
enum { HK_FIT_FIRST = HK_TINY_CLASSES + 8, HK_FIT_CLASSES = HK_BASE_CLASSES - HK_FIT_FIRST };

/* One thread's vote on a base class. */
typedef struct hk_fit_vote {
    uint16_t size; /* the candidate, less one */
    uint16_t count;
} hk_fit_vote_t;

/* A slow path of malloc for a size; votes has HK_FIT_CLASSES.  May make a class, which the next request then finds. */
void hk_fit_vote(hk_fit_vote_t *votes, unsigned class_index, size_t size);

/* Makes a class for sizes up to size below the base class that serves it; false if there is one below it already, no class is
 * left, or it would not differ.  Any thread. */
bool hk_fit_make(unsigned base, size_t size);

/* The fitted class below a class; HK_CLASS_COUNT if there is none. */
unsigned hk_fit_of(unsigned class_index);

/* How many there are. */
uint64_t hk_fit_count(void);

#endif
