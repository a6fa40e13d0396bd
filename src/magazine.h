/*
 * magazine: a small array of pointers to free blocks, the currency between caches, depots and
 * inboxes.
 *
 * The blocks themselves are never read or written.  A magazine belongs to one place at a time: a
 * cache (its thread), a depot or the spare list of a heap (lock(heap)), or an inbox.  `sentinel` is
 * the word below the first slot.  It is NULL, so the newest slot of an empty magazine reads as
 * NULL.
 */
#ifndef HK_MAGAZINE_H
#define HK_MAGAZINE_H

#include "base.h"

enum { HK_MAGAZINE_MIXED = 0xffff };

/* What the live bits (live.h) of a magazine's blocks are. */
typedef enum hk_marks {
    HK_MARKS_CLEAR,
    HK_MARKS_SET,   /* freed by threads of other heaps, which may not clear them */
    HK_MARKS_MIXED, /* some may be set */
} hk_marks_t;

typedef struct hk_magazine {
    uint16_t count;       /* not valid while loaded: then the cache's top pointer tells */
    uint16_t class_index; /* of all its blocks, or HK_MAGAZINE_MIXED */
    uint16_t capacity;
    uint8_t kind;
    uint8_t marks; /* hk_marks_t; clear while loaded */
    struct hk_magazine *next;
    void *sentinel;
    void *slot[];
} hk_magazine_t;

static_assert(sizeof(hk_magazine_t) == 3 * sizeof(void *), "the slots follow the sentinel at once");

static inline size_t hk_magazine_bytes(unsigned kind)
{
    return (size_t)64 << kind;
}

static inline unsigned hk_magazine_capacity(unsigned kind)
{
    return (unsigned)((hk_magazine_bytes(kind) - sizeof(hk_magazine_t)) / sizeof(void *));
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
