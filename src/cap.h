/*
 * cap: how many units the slabs of one class may hold in the Shared Pool, and how many they do.
 *
 * In normal mode a cap is soft: at it memory is reclaimed, then it is raised, and it falls again
 * when another class needs more.  In strict mode it is a promise.  All state is atomics that order
 * nothing; a charge is one compare-and-swap, so that a strict cap holds exactly.
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

/* A soft cap after reclaiming at it: raises it if that did not bring enough, and lowers the others
 * towards their use.  False if the cap is strict. */
bool hk_cap_give_way(unsigned class_index);

/* Sets the mode, HAKMEM_TINY_SS_SHARED's, and the least cap in bytes; 0 is the policy's, and in
 * strict mode none. */
void hk_cap_start(uint64_t mode, size_t bytes);

uint64_t hk_cap_units(unsigned class_index);
uint64_t hk_cap_used_units(unsigned class_index);

/* How often a class was at its cap, so far. */
uint64_t hk_cap_hits(void);

#endif
