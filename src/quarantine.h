/*
 * quarantine: freed blocks that wait, so that no block is handed out again soon, or after a time
 * that can be foreseen.
 *
 * A quarantine belongs to a thread, or to a first-class heap, whose lock then guards it.  It holds
 * up to so many blocks and bytes.  Once it is full, each new block makes another one leave: a
 * random one of the oldest sixteenth, or of the oldest two.  So a block waits until most of those
 * that were there before have left, and blocks are handed out again roughly in the order in which
 * they were freed.
 */
#ifndef HK_QUARANTINE_H
#define HK_QUARANTINE_H

#include "atomic.h"
#include "random.h"
#include "sizeclass.h"

/* Whose it is: a thread's is larger at level 2. */
typedef enum hk_quarantine_kind {
    HK_QUARANTINE_THREAD,
    HK_QUARANTINE_HEAP,
} hk_quarantine_kind_t;

/* The block that leaves is in the oldest of so many parts. */
enum { HK_QUARANTINE_AGES = 16 };

typedef struct hk_quarantined {
    void *block;
    uint32_t bytes;
    uint16_t owner; /* of its heap; 0 in a first-class heap's own */
    uint8_t class_index;
} hk_quarantined_t;

typedef struct hk_quarantine {
    uint64_t random;  /* never 0 */
    uint64_t chances; /* random bytes not used yet, with a bit set above them */
    size_t bytes;     /* in all its blocks */
    size_t most_bytes;
    uint32_t head; /* the number of the oldest block: blocks are numbered as they come */
    uint32_t tail; /* the number that the next block gets */
    uint32_t most; /* a power of two, as numbers wrap */
    hk_quarantine_kind_t kind;
    uint64_t blocks[]; /* by number modulo most: address, class and owner in a word */
} hk_quarantine_t;

/* An empty one; NULL if there is no memory. */
hk_quarantine_t *hk_quarantine_new(hk_quarantine_kind_t kind);
void hk_quarantine_delete(hk_quarantine_t *quarantine);

/* A block is packed into one word, so that a signal handler which jumps out never leaves half of
 * one. */
enum { HK_QUARANTINE_CLASS_SHIFT = 44, HK_QUARANTINE_OWNER_SHIFT = 51 };

static inline uint64_t hk_quarantine_pack(hk_quarantined_t block)
{
    return (uintptr_t)block.block / HK_GRANULE_BYTES |
           (uint64_t)block.class_index << HK_QUARANTINE_CLASS_SHIFT |
           (uint64_t)block.owner << HK_QUARANTINE_OWNER_SHIFT;
}

static inline void *hk_quarantine_block(uint64_t word)
{
    uint64_t address = word & (((uint64_t)1 << HK_QUARANTINE_CLASS_SHIFT) - 1);
    return (void *)(uintptr_t)(address * HK_GRANULE_BYTES);
}

static inline unsigned hk_quarantine_class(uint64_t word)
{
    return word >> HK_QUARANTINE_CLASS_SHIFT & 0x7f;
}

static inline uint16_t hk_quarantine_owner(uint64_t word)
{
    return (uint16_t)(word >> HK_QUARANTINE_OWNER_SHIFT);
}

static inline hk_quarantined_t hk_quarantine_unpack(uint64_t word)
{
    unsigned class_index = hk_quarantine_class(word);
    return (hk_quarantined_t){hk_quarantine_block(word), hk_class_info[class_index].block_bytes,
                              hk_quarantine_owner(word), (uint8_t)class_index};
}

static inline uint32_t hk_quarantine_count(const hk_quarantine_t *quarantine)
{
    return quarantine->tail - quarantine->head;
}

static inline uint64_t *hk_quarantine_place(hk_quarantine_t *quarantine, uint32_t number)
{
    return &quarantine->blocks[number & (quarantine->most - 1)];
}

/* A random number below limit, which is at most 256. */
static inline uint32_t hk_quarantine_choose(hk_quarantine_t *quarantine, uint32_t limit)
{
    uint64_t chances = quarantine->chances;
    if (HK_UNLIKELY(chances <= 1)) {
        chances = hk_random_next(&quarantine->random) >> 8 | (uint64_t)1 << 56;
    }
    quarantine->chances = chances >> 8;
    return (uint32_t)(chances & 0xff) * limit >> 8;
}

/* Takes a random one of the oldest blocks out; there must be one. */
static inline hk_quarantined_t hk_quarantine_take(hk_quarantine_t *quarantine)
{
    uint32_t count = hk_quarantine_count(quarantine);
    uint32_t oldest = count / HK_QUARANTINE_AGES;
    oldest = oldest < 2 ? 2 : oldest;
    uint32_t choice = hk_quarantine_choose(quarantine, (uint32_t)hk_least(count, oldest));
    uint64_t first = *hk_quarantine_place(quarantine, quarantine->head);
    uint64_t *chosen = hk_quarantine_place(quarantine, quarantine->head + choice);
    hk_quarantined_t taken = hk_quarantine_unpack(*chosen);
    quarantine->head++;
    hk_fence_signal(); /* else a handler that jumps out could leave the first one there twice */
    *chosen = first;
    quarantine->bytes -= taken.bytes;
    return taken;
}

/* Adds a block.  If there is no room for it, another one leaves first, into *evicted, and the
 * function returns true. */
static inline bool hk_quarantine_exchange(hk_quarantine_t *quarantine, hk_quarantined_t block,
                                          hk_quarantined_t *evicted)
{
    uint32_t count = hk_quarantine_count(quarantine);
    quarantine->bytes += block.bytes;
    hk_fence_signal(); /* a jump may leave the sum too large, never too small */
    bool full =
        count == quarantine->most || (quarantine->bytes > quarantine->most_bytes && count > 0);
    if (full) {
        *evicted = hk_quarantine_take(quarantine);
    }
    *hk_quarantine_place(quarantine, quarantine->tail) = hk_quarantine_pack(block);
    hk_fence_signal();
    quarantine->tail++;
    return full;
}

/* Whether it has as many blocks as it may. */
static inline bool hk_quarantine_is_full(const hk_quarantine_t *quarantine)
{
    return hk_quarantine_count(quarantine) == quarantine->most;
}

/* The same, fast, for a quarantine that is full; returns the block that leaves, packed.  The new
 * block gets the oldest one's place. */
HK_INLINE uint64_t hk_quarantine_exchange_full(hk_quarantine_t *quarantine, hk_quarantined_t block)
{
    uint32_t head = quarantine->head;
    uint32_t most = quarantine->most;
    uint32_t choice = hk_quarantine_choose(quarantine, most / HK_QUARANTINE_AGES);
    uint64_t *oldest = &quarantine->blocks[head & (most - 1)];
    uint64_t *chosen = &quarantine->blocks[(head + choice) & (most - 1)];
    uint64_t first = *oldest;
    uint64_t taken = *chosen;
    quarantine->bytes += block.bytes; /* and in the same order as above */
    quarantine->head = head + 1;
    hk_fence_signal();
    *chosen = first;
    quarantine->bytes -= hk_class_info[hk_quarantine_class(taken)].block_bytes;
    *oldest = hk_quarantine_pack(block);
    hk_fence_signal();
    quarantine->tail = head + 1 + most;
    return taken;
}

/* Whether more blocks have to leave: those that left were smaller than what came. */
static inline bool hk_quarantine_is_over(const hk_quarantine_t *quarantine)
{
    return quarantine->bytes > quarantine->most_bytes && hk_quarantine_count(quarantine) > 1;
}

#endif
