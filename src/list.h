/*
 * list: doubly linked lists through two fields of their items.  They end in NULL on both sides, so
 * an item with neither neighbour may still be the only one.
 *
 * Macros, because an item may be in two lists at once and each kind of item has a type of its own;
 * list and item are evaluated more than once.
 */
#ifndef HK_LIST_H
#define HK_LIST_H

#include <stddef.h>

/* Puts an item that is in no such list at the front. */
#define HK_LIST_PUSH(list, item, next_field, prev_field)                                           \
    do {                                                                                           \
        (item)->prev_field = NULL;                                                                 \
        (item)->next_field = (list);                                                               \
        if ((list) != NULL) {                                                                      \
            (list)->prev_field = (item);                                                           \
        }                                                                                          \
        (list) = (item);                                                                           \
    } while (0)

/* Takes an item out; its own two fields stay as they are. */
#define HK_LIST_REMOVE(list, item, next_field, prev_field)                                         \
    do {                                                                                           \
        if ((item)->prev_field != NULL) {                                                          \
            (item)->prev_field->next_field = (item)->next_field;                                   \
        } else {                                                                                   \
            (list) = (item)->next_field;                                                           \
        }                                                                                          \
        if ((item)->next_field != NULL) {                                                          \
            (item)->next_field->prev_field = (item)->prev_field;                                   \
        }                                                                                          \
    } while (0)

#endif
