/*
 * poison: tells AddressSanitizer which bytes nobody holds, so that it reports their use.  In builds
 * without it, nothing.
 *
 * Blocks are poisoned when the program frees them and cleared when it gets them (front).  Address
 * space is cleared before it goes back to the system (os), and where live bits come to lie in it
 * (superslab).  Stateless.
 */
#ifndef HK_POISON_H
#define HK_POISON_H

#include "base.h"

#if defined(__SANITIZE_ADDRESS__)
#define HK_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HK_POISONS 1
#endif
#endif

#ifdef HK_POISONS
#include <sanitizer/asan_interface.h>
#else
#define HK_POISONS 0
#define __asan_poison_memory_region(address, bytes) ((void)(address), (void)(bytes))
#define __asan_unpoison_memory_region(address, bytes) ((void)(address), (void)(bytes))
#endif

static inline void hk_poison_set(const void *address, size_t bytes)
{
    __asan_poison_memory_region(address, bytes);
}

static inline void hk_poison_clear(const void *address, size_t bytes)
{
    __asan_unpoison_memory_region(address, bytes);
}

#endif
