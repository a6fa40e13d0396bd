/*
 * quarantine: freed blocks that wait, so that none is handed out again soon, nor after a time that anybody can know.
 *
 * It belongs to a thread, and holds so many blocks and bytes; for each one more, a random one has to go.
 */
#ifndef HK_QUARANTINE_H
#define HK_QUARANTINE_H

#include "random.h"
#include "sizeclass.h"

typedef struct hk_quarantined {
    void *block;
    uint16_t owner; /* of its heap */
    uint8_t class_index;
} hk_quarantined_t;

typedef struct hk_quarantine {
    uint64_t random; /* the thread's random numbers; never 0 */
    size_t bytes;    /* in all its blocks */
    size_t most_bytes;
    uint32_t count;
    uint32_t most;
    hk_quarantined_t blocks[]; /* in no order */
} hk_quarantine_t;

/* An empty one; NULL if there is no memory. */
hk_quarantine_t *hk_quarantine_new(void);
void hk_quarantine_delete(hk_quarantine_t *quarantine);

/* Whether one has to go before a block of the class has room. */
static inline bool hk_quarantine_is_full(const hk_quarantine_t *quarantine, unsigned class_index)
{
    size_t bytes = quarantine->bytes + hk_class_info[class_index].block_bytes;
    return quarantine->count == quarantine->most ||
           (quarantine->count > 0 && bytes > quarantine->most_bytes);
}

/* Adds a block, for which there is room. */
static inline void hk_quarantine_add(hk_quarantine_t *quarantine, hk_quarantined_t block)
{
    quarantine->blocks[quarantine->count++] = block;
    quarantine->bytes += hk_class_info[block.class_index].block_bytes;
}

/* The place of a random block; there must be one. */
static inline uint32_t hk_quarantine_choose(hk_quarantine_t *quarantine)
{
    return hk_random_below(&quarantine->random, quarantine->count);
}

/* Takes the block at the place out. */
static inline hk_quarantined_t hk_quarantine_take(hk_quarantine_t *quarantine, uint32_t place)
{
    hk_quarantined_t taken = quarantine->blocks[place];
    quarantine->blocks[place] = quarantine->blocks[--quarantine->count];
    quarantine->bytes -= hk_class_info[taken.class_index].block_bytes;
    return taken;
}

#endif
