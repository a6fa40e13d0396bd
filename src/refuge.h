/*
 * refuge: where other threads allocate and free while a fork is under way, if their magazines are
 * not enough.
 *
 * A region is bumped by one atomic addition and never reuses a block, so the fork cannot catch
 * anything in it half-way.  A region goes when its last block is freed and no fork needs it.
 * Blocks of other layers that are freed meanwhile are noted, and freed later.
 */
#ifndef HK_REFUGE_H
#define HK_REFUGE_H

#include "registry.h"

typedef struct hk_refuge hk_refuge_t;

/* The notes, the newest first; taken whole only. */
extern _Atomic(void *) hk_refuge_deferred;

/* 1 if a region may be current although no fork is under way. */
extern _Atomic uint32_t hk_refuge_unclosed;

/* A block has to start in its region's first 2 MiB, behind the head. */
enum { HK_REFUGE_ALIGNMENT = HK_SUPERSLAB_BYTES / 2 };

/* Returns a zeroed block; NULL if there is no memory or alignment is above HK_REFUGE_ALIGNMENT. */
void *hk_refuge_allocate(size_t size, size_t alignment);

void hk_refuge_free(hk_refuge_t *refuge, void *block);

/* Returns the block's usable bytes; the process ends if there is no such block.  what names the
 * caller's operation. */
size_t hk_refuge_usable_bytes(const hk_refuge_t *refuge, const void *block, const char *what);

/* Notes a block to be freed later; false if there is no memory for the note. */
bool hk_refuge_defer(void *block);

/* Takes all notes and calls free_block for each noted block; and lets go of regions that the fork
 * had to leave in place.  Inside the gate. */
void hk_refuge_replay(void (*free_block)(void *block));

/* The same, and waits until other threads have worked off the notes that they took.  After that no
 * note names a block that was freed before the call.  Inside the gate, with no lock held. */
void hk_refuge_settle(void (*free_block)(void *block));

/* Whether hk_refuge_replay has something to do. */
static inline bool hk_refuge_has_deferred(void)
{
    return HK_UNLIKELY(hk_load_relaxed(&hk_refuge_deferred) != NULL ||
                       hk_load_relaxed(&hk_refuge_unclosed) != 0); /* relaxed: hints */
}

/* Roughly the bytes of regions that have been written to. */
size_t hk_refuge_bytes(void);

/* After a fork: in the parent, lets go of the regions, each of which stays as long as it has
 * blocks, without the pages that no block has come to; in the child, forgets them and the notes. */
void hk_refuge_close(void);
void hk_refuge_reset(void);

#endif
