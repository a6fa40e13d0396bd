/*
 * epoch: how much of what is free in a place was not needed for an epoch, and goes back.
 *
 * For the pool in units, for runs in bytes.  Belongs to the place, and its lock guards it.
 */
#ifndef HK_EPOCH_H
#define HK_EPOCH_H

#include "policy.h"

typedef struct hk_epoch {
    uint64_t begin_ms;
    size_t low_water; /* the least that was free since then */
    size_t surplus;   /* not needed in the epoch before, and still to go back */
} hk_epoch_t;

/* Whenever less is free than before. */
static inline void hk_epoch_note(hk_epoch_t *epoch, size_t free)
{
    if (free < epoch->low_water) {
        epoch->low_water = free;
    }
}

/* Ends the epoch if it is over; returns how much, at most `most`, is to go back now.  surplus_of
 * says what of so much need not stay. */
static inline size_t hk_epoch_take(hk_epoch_t *epoch, uint64_t now_ms, size_t free,
                                   size_t (*surplus_of)(size_t free), size_t most)
{
    if (now_ms - epoch->begin_ms >= HK_DECAY_MS) {
        epoch->begin_ms = now_ms;
        epoch->surplus = surplus_of(epoch->low_water);
        epoch->low_water = free;
    }
    size_t now = surplus_of(free); /* some may be in use again */
    epoch->surplus = epoch->surplus < now ? epoch->surplus : now;
    size_t taken = epoch->surplus < most ? epoch->surplus : most;
    epoch->surplus -= taken;
    return taken;
}

#endif
