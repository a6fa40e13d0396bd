/*
 * epoch: how much of the free memory of a place was not needed during an epoch, and goes back.
 *
 * A pool counts units; its parts together, and runs, count bytes.  An epoch belongs to its place,
 * whose lock guards it.
 */
#ifndef HK_EPOCH_H
#define HK_EPOCH_H

#include "options.h"
#include "policy.h"

typedef struct hk_epoch {
    uint64_t begin_ms;
    size_t low_water; /* the least that was free since begin_ms */
    size_t surplus;   /* what the epoch before did not need, and has not gone back yet */
} hk_epoch_t;

/* To be called whenever less is free than before, or at least now and then. */
static inline void hk_epoch_note(hk_epoch_t *epoch, size_t free)
{
    if (free < epoch->low_water) {
        epoch->low_water = free;
    }
}

/* Ends the epoch if it is over.  Returns how much is to go back now, at most `most`; so much is
 * kept in any case. */
static inline size_t hk_epoch_take(hk_epoch_t *epoch, uint64_t now_ms, size_t free, size_t kept,
                                   size_t most)
{
    if (hk_ms_since(epoch->begin_ms, now_ms) >= hk_options.decay) {
        epoch->begin_ms = now_ms;
        epoch->surplus = hk_above(epoch->low_water, kept);
        epoch->low_water = free;
    }
    size_t now = hk_above(free, kept); /* some may be in use again */
    epoch->surplus = epoch->surplus < now ? epoch->surplus : now;
    size_t taken = epoch->surplus < most ? epoch->surplus : most;
    epoch->surplus -= taken;
    return taken;
}

#endif
