/*
 * guard: sampled blocks, each alone on its pages, between pages without access.
 *
 * About one in N of the blocks that slow paths hand out is sampled.  It lies at the start or at the
 * end of its pages: an access past that side faults at once, and a write past the other side is
 * found when the block is freed.  The pages of a freed block stay without access until all other
 * slots have been used.  So late uses of it fault, and hk_guard_explain says which block that was
 * and who allocated and freed it.
 *
 * lock(guard) guards the slots.  A slot's pages and its record are its holder's while it is live.
 */
#ifndef HK_GUARD_H
#define HK_GUARD_H

#include "base.h"

/* Reserves the slots, and starts to sample about one block in `every`; without memory there is no
 * sampling.  strict, for hardening: the process's first blocks are all sampled, and every block
 * lies at the end of its pages.  stacks: reports have stacks. */
void hk_guard_start(uint64_t every, bool strict, bool stacks);

/* Whether the calling thread, which allocated so many blocks since it last asked, is to sample the
 * next one.  left is the thread's counter. */
bool hk_guard_is_due(int64_t *left, size_t allocated);

/* A sampled block; NULL if it is too large or all slots are in use. */
void *hk_guard_allocate(size_t size, size_t alignment);

/* Frees a sampled block.  The process ends with a report if it is not live, or if somebody wrote
 * beside it. */
void hk_guard_free(void *block);

/* Returns the size of a sampled block; ends the process likewise.  what names the caller's
 * operation. */
size_t hk_guard_usable_bytes(const void *block, const char *what);

/* Makes a sampled block smaller: its holder needs only size bytes of it from now on. */
void hk_guard_shrink(void *block, size_t size);

/* Ends the process with a report if somebody wrote beside a live block.  No other thread may be
 * using one. */
void hk_guard_inspect(void);

/* Says on stderr what an access at the address, which faulted, has done.  False if the address is
 * in no slot that was ever used. */
bool hk_guard_explain(const void *address, const char *access);

/* The bytes of live blocks' pages. */
size_t hk_guard_used_bytes(void);

/* Calls visit for the range of all slots, if there is one. */
void hk_guard_each_range(void (*visit)(const void *address, size_t bytes, void *context),
                         void *context);

/* In a forked child. */
void hk_guard_reset_lock(void);

#endif
