/*
 * guard: sampled blocks, each alone on its pages, between pages without access.
 *
 * One block in about N, chosen among those that a slow path hands out, lies at the start or at the
 * end of its pages: what goes past that side faults at once, what goes past the other is found when
 * it is freed.  A freed one's pages stay without access until all other slots have been used: late
 * uses of it fault, and hk_guard_explain says which block that was and who allocated and freed it.
 *
 * lock(guard) guards the slots.  A slot's pages and its record are its holder's while it is live.
 */
#ifndef HK_GUARD_H
#define HK_GUARD_H

#include "base.h"

/* Reserves the slots for one block in about `every`; without memory there is no sampling.  strict,
 * of hardening: the process's first blocks are all sampled, and every one lies at the end of its
 * pages.  stacks: reports have them. */
void hk_guard_start(uint64_t every, bool strict, bool stacks);

/* Whether the thread that allocated so many blocks since it last asked is to sample the next one.
 * left belongs to the thread. */
bool hk_guard_is_due(int64_t *left, size_t allocated);

/* A sampled block; NULL if it is too large or all slots are in use. */
void *hk_guard_allocate(size_t size, size_t alignment);

/* Frees it; the process ends with a report if it is no live one, or if somebody wrote beside it. */
void hk_guard_free(void *block);

/* Its size, likewise; what names the caller's operation. */
size_t hk_guard_usable_bytes(const void *block, const char *what);

/* Its holder needs only size bytes of it from now on. */
void hk_guard_shrink(void *block, size_t size);

/* The process ends with a report if somebody wrote beside a live one.  No other thread may be using
 * any. */
void hk_guard_inspect(void);

/* Says on stderr what an access at the address, which faulted, has done.  False if it is none of
 * the slots'. */
bool hk_guard_explain(const void *address, const char *access);

/* The bytes of live blocks' pages. */
size_t hk_guard_used_bytes(void);

/* Calls visit for the range of all slots, if there is one. */
void hk_guard_each_range(void (*visit)(const void *address, size_t bytes, void *context),
                         void *context);

/* In a forked child. */
void hk_guard_reset_lock(void);

#endif
