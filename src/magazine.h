/*
 * magazine: a small array of pointers to free blocks, the currency between caches, depots and inboxes.
 *
 * Nobody ever reads or writes the blocks themselves.  A magazine belongs to one place at a time: a cache (its thread), a depot or
 * the spare list of a heap (lock(heap)), or an inbox.  `sentinel` and, while the magazine is loaded in a cache, `next` are NULL: so
 * malloc's one comparison of the newest slot with the one below is true for an empty magazine and for a block that was freed twice
 * in a row, and for nothing else.
 */
#ifndef HK_MAGAZINE_H
#define HK_MAGAZINE_H

#include "base.h"

enum { HK_MAGAZINE_MIXED = 0xffff };

typedef struct hk_magazine {
    uint16_t count;       /* valid unless loaded; then the cache's top pointer tells */
    uint16_t class_index; /* of all its blocks, or HK_MAGAZINE_MIXED */
    uint16_t capacity;
    uint16_t kind;
    struct hk_magazine *next;
    void *sentinel;
    void *slot[];
} hk_magazine_t;

static_assert(sizeof(hk_magazine_t) == 3 * sizeof(void *), "the slots follow the sentinel at once");
static_assert(offsetof(hk_magazine_t, next) + sizeof(void *) == offsetof(hk_magazine_t, sentinel),
              "next lies below the sentinel");

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
