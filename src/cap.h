/*
 * cap: how many units the slabs of one class may hold in the Shared Pool, and how many they do.
 *
 * In normal mode a cap is soft.  When a class reaches it, memory is reclaimed and then the cap is
 * raised; it falls again when another class needs more.  In strict mode a cap is a promise.  All
 * state is atomics that order nothing.  A charge is one compare-and-swap, so a strict cap holds
 * exactly.
 */
#ifndef HK_CAP_H
#define HK_CAP_H

#include "base.h"

/* Counts units about to be acquired for the class; false, and nothing counted, if its cap forbids
 * them. */
bool hk_cap_charge(unsigned class_index, unsigned units);
void hk_cap_uncharge(unsigned class_index, unsigned units);

/* Whether a slab of the class would be refused now. */
bool hk_cap_is_reached(unsigned class_index);

/* After reclaiming at a soft cap: raises the cap if that did not bring enough, and lowers those of
 * other classes towards what they use.  False, and nothing done, if caps are strict. */
bool hk_cap_give_way(unsigned class_index);

/* Sets the mode, which is HAKMEM_TINY_SS_SHARED's value, and the least cap in bytes.  0 means the
 * policy's least cap, and in strict mode no cap. */
void hk_cap_start(uint64_t mode, size_t bytes);

uint64_t hk_cap_units(unsigned class_index);
uint64_t hk_cap_used_units(unsigned class_index);

/* How often a class was at its cap, so far. */
uint64_t hk_cap_hits(void);

#endif
