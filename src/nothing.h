/*
 * nothing: addresses for blocks of no bytes, under hardening.
 *
 * They lie in 2 MiB without access, 16 bytes apart, so that every use of one faults.  A bit for
 * each says whether it is handed out; lock(nothing), of rank GUARD, guards them.
 */
#ifndef HK_NOTHING_H
#define HK_NOTHING_H

#include "base.h"

enum { HK_NOTHING_ALIGNMENT = 16 };

/* Returns a block of no bytes, aligned to 16; NULL if there is none left. */
void *hk_nothing_allocate(void);

/* Frees such a block; ends the process if it is not handed out. */
void hk_nothing_free(const void *block);

/* Returns its usable bytes, which is 0; ends the process likewise.  what names the caller's
 * operation. */
size_t hk_nothing_usable_bytes(const void *block, const char *what);

/* In a forked child. */
void hk_nothing_reset_lock(void);

#endif
