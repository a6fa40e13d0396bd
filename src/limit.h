/*
 * limit: how much memory HAKMEM has committed, and how much it may.
 *
 * Counted are the units of superslabs and the pages of areas that may be resident, in use or free,
 * the live bits, direct mappings in use or kept, the open pages of sampled blocks, and the
 * allocator's own memory.  Whoever commits memory charges it here first: where slabs, runs and
 * mappings are acquired, and nowhere else.  Whoever gives memory back uncharges it.  All state is
 * atomics, which order nothing.  A charge is one compare-and-swap, so the hard limit holds exactly.
 */
#ifndef HK_LIMIT_H
#define HK_LIMIT_H

#include "atomic.h"
#include "base.h"

typedef enum hk_limit_kind { HK_LIMIT_HARD, HK_LIMIT_SOFT, HK_LIMIT_KINDS } hk_limit_kind_t;

/* atomic: 1 if a charge went beyond the soft limit and nobody has reclaimed for it yet. */
extern _Atomic uint32_t hk_limit_pressed;

/* Counts bytes about to be committed; false, and nothing counted, if the hard limit forbids
 * them. */
bool hk_limit_charge(size_t bytes);

/* Maps memory and charges all of it; NULL, and nothing is counted, if the hard limit or the system
 * refuses. */
void *hk_limit_map(size_t bytes, size_t alignment);

/* The same between walls (wall.h), which are not counted. */
void *hk_limit_map_walled(size_t bytes, size_t alignment);

/* Charges bytes that cannot be refused. */
void hk_limit_charge_always(size_t bytes);

/* Counts bytes given back. */
void hk_limit_uncharge(size_t bytes);

/* Memory on its way back to the system is in no list any more, and counted until it is gone.  So
 * who takes memory out of a list for that says so under the list's lock, and again when it is
 * uncharged. */
void hk_limit_begin_leaving(void);
void hk_limit_end_leaving(void);

/* Waits until as much has left as was leaving, for a tenth of a second at most.  Call without any
 * lock held. */
void hk_limit_wait_for_leaving(void);

/* Whether a block of bytes at that alignment could ever be granted, however much is given back
 * before. */
bool hk_limit_is_possible(size_t bytes, size_t alignment);

/* Whether a charge of bytes would be granted now. */
bool hk_limit_allows(size_t bytes);

size_t hk_limit_committed_bytes(void);

/* Sets a limit; 0 is none.  Of a hard limit a reserve is set aside, which no charge gets until it
 * is released. */
void hk_limit_set(hk_limit_kind_t kind, size_t bytes);
size_t hk_limit_get(hk_limit_kind_t kind);

/* Releases the reserve; returns its bytes, 0 if it was released already or there is none. */
size_t hk_limit_release_reserve(void);

/* Clears hk_limit_pressed; true if it was set, and then the caller has to reclaim. */
bool hk_limit_take_pressure(void);

/* Puts it back: a later call of any thread takes it. */
void hk_limit_press_again(void);

/* Whether more is committed than the soft limit says. */
bool hk_limit_is_exceeded(void);

/* After reclaiming: decides how much more may be committed before hk_limit_pressed is set again. */
void hk_limit_settle(void);

#endif
