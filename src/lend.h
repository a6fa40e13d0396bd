/*
 * lend: slots of areas that are superslabs for a while.
 *
 * A slot is 2 MiB of an area, at a multiple of 2 MiB.  When the slabs grow and most of a slot is
 * free and resident, it is lent to them: it becomes a superslab without the system's help.  In its
 * area it is a used run without a block, and in the registry the superslab takes its place.
 *
 * No more is lent than was free and resident all the time since the slabs last asked, which is
 * growth by about 2 MiB: the part's `unneeded_bytes`.  A program that uses its runs again and again
 * while its slabs grow keeps what it needs for that.  (ADR 13.)
 */
#ifndef HK_LEND_H
#define HK_LEND_H

#include "run_area.h"

typedef struct hk_loan {
    hk_run_area_t *area;
    char *base;           /* of the slot */
    uint32_t dirty_units; /* a bit for each unit that may be resident; none for the first unit */
    size_t first_bytes;   /* of the first unit, what may be resident, from its start on */
} hk_loan_t;

/* Whether areas and superslabs can become each other.  Not where superslabs have walls, or pages of
 * another kind; and pages must not be larger than what the live bits take. */
bool hk_lend_is_possible(void);

/* Lends a slot, and fills in the loan.  It is charged as the loan says.  False if there is none; a
 * part whose lock another thread holds is passed by. */
bool hk_lend_slot(hk_loan_t *loan);

/* Takes a slot back, with what may be resident of it now, and is charged.  The registry must have
 * the area there again. */
void hk_lend_take_back(const hk_loan_t *loan);

/* Marks what may be resident in a slot of an area that is in no part yet. */
void hk_lend_mark_dirty(const hk_loan_t *loan);

#endif
