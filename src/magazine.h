/*
 * magazine: a small array of pointers to free blocks, the currency between caches, depots and
 * inboxes.
 *
 * The blocks themselves are never read or written.  A magazine belongs to one place at a time: a
 * cache (its thread), a depot or the spare list of a heap (lock(heap)), or an inbox.
 *
 * Two words tell a fast path where a loaded magazine ends.  The word below the first slot is `next`
 * and NULL then, so the newest slot of an empty magazine reads as NULL.  The word above the last
 * slot is always HK_MAGAZINE_END, which is no block's address.
 */
#ifndef HK_MAGAZINE_H
#define HK_MAGAZINE_H

#include "base.h"

enum { HK_MAGAZINE_MIXED = 0xffff };

/* Misaligned, as no block is. */
#define HK_MAGAZINE_END ((void *)1)

/* What the live bits (live.h) of a magazine's blocks are. */
typedef enum hk_marks {
    HK_MARKS_CLEAR,
    HK_MARKS_SET,   /* freed by threads of other heaps, which may not clear them */
    HK_MARKS_MIXED, /* some may be set */
} hk_marks_t;

typedef struct hk_magazine {
    uint16_t count;       /* not valid while loaded: then the cache's top pointer tells */
    uint16_t class_index; /* of all its blocks, or HK_MAGAZINE_MIXED */
    uint16_t capacity;    /* at most hk_magazine_capacity of its kind */
    uint8_t kind;
    uint8_t marks; /* hk_marks_t; clear while loaded */
    void *next;    /* another magazine; NULL while loaded */
    void *slot[];  /* `capacity` of them, and the end */
} hk_magazine_t;

static_assert(offsetof(hk_magazine_t, slot) == offsetof(hk_magazine_t, next) + sizeof(void *),
              "`next` is the word below the first slot");

/* The slots of a magazine of a kind.  A word above them is for the end. */
#define HK_MAGAZINE_CAPACITY(kind)                                                                 \
    ((((size_t)64 << (kind)) - sizeof(hk_magazine_t)) / sizeof(void *) - 1)

static inline size_t hk_magazine_bytes(unsigned kind)
{
    return (size_t)64 << kind;
}

static inline unsigned hk_magazine_capacity(unsigned kind)
{
    return (unsigned)HK_MAGAZINE_CAPACITY(kind);
}

/* How many blocks a loaded magazine has; top points to its newest slot. */
static inline size_t hk_magazine_loaded_count(const hk_magazine_t *magazine, void *const *top)
{
    return (size_t)(top + 1 - magazine->slot);
}

/* Makes it hold so many blocks, which are not fewer than it has. */
static inline void hk_magazine_set_capacity(hk_magazine_t *magazine, unsigned capacity)
{
    if (magazine->capacity != capacity) {
        magazine->slot[magazine->capacity] = NULL; /* or it would be an end to blocks below it */
        magazine->slot[capacity] = HK_MAGAZINE_END;
        magazine->capacity = (uint16_t)capacity;
    }
}

static inline void hk_magazine_push_list(hk_magazine_t **list, hk_magazine_t *magazine)
{
    magazine->next = *list;
    *list = magazine;
}

static inline hk_magazine_t *hk_magazine_pop_list(hk_magazine_t **list)
{
    hk_magazine_t *magazine = *list;
    if (magazine != NULL) {
        *list = magazine->next;
        magazine->next = NULL;
    }
    return magazine;
}

#endif
