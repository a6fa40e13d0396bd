/*
 * os: with wall, the only code that asks the kernel for memory, time or cores.
 *
 * Thread-safe.  Its only state is what never changes, and the ranges that the kernel did not unmap
 * for want of mappings.  Every function keeps errno and reports failure by its return value alone,
 * so that callers decide what the program sees.  Ranges are multiples of the page size, which is
 * read at run time.
 */
#ifndef HK_OS_H
#define HK_OS_H

#include "base.h"

/* The page size in bytes. */
size_t hk_os_page_bytes(void);

/* Returns a fresh zeroed read-write mapping of bytes at a multiple of alignment; NULL if the kernel
 * refuses. */
void *hk_os_map(size_t bytes, size_t alignment);

/* Unmaps the range.  This can fail only when the process has no mappings to spare; then the range
 * is purged now, and unmapped after a later call has succeeded. */
void hk_os_unmap(void *address, size_t bytes);

/* Unmaps what lies from start up to end, if anything does. */
static inline void hk_os_unmap_between(uintptr_t start, uintptr_t end)
{
    if (start < end) {
        hk_os_unmap((void *)start, end - start);
    }
}

/* Gives the range's pages back; it reads as zero afterwards.  False if the kernel refuses: then the
 * content stays. */
bool hk_os_purge(void *address, size_t bytes);

/* The same for pages that stay in use, and are to be zero: false, and nothing done, for memory that
 * the program has locked, which is to stay resident. */
bool hk_os_zero(void *address, size_t bytes);

/* Fills pages with a byte for each page of the range, of which bit 0 tells whether the page is
 * resident.  Where nothing is mapped, none is; if the kernel does not say, all are. */
void hk_os_residency(const void *address, size_t bytes, unsigned char *pages);

/* Asks for huge pages in the range from now on, as far as the system's setting allows them; false
 * if the kernel refuses. */
bool hk_os_prefer_huge(void *address, size_t bytes);

/* Asks for no huge pages.  This is advice: the kernel may lack the call. */
void hk_os_prefer_small(void *address, size_t bytes);

/* Resizes the mapping in place; false if its neighbours do not allow it. */
bool hk_os_resize(void *address, size_t old_bytes, size_t new_bytes);

/* Reserves address space of bytes at a multiple of alignment, without access and without charge;
 * NULL if there is none. */
void *hk_os_reserve(size_t bytes, size_t alignment);

/* Moves the mapping, without copying, into reserved address space of new_bytes, which it replaces.
 * If it returns false, the mapping is as it was, and the reserved address space no longer belongs
 * to the caller. */
bool hk_os_move_to(void *address, size_t old_bytes, void *target, size_t new_bytes);

/* Milliseconds on a coarse monotonic clock. */
uint64_t hk_os_clock_ms(void);

/* Adds the processors that the calling thread may run on to those that are known.  One thread at a
 * time. */
void hk_os_note_cpus(void);

/* How many processors are known; 1 if the kernel does not say. */
unsigned hk_os_cpu_count(void);

/* Reads the beginning of a file into text and ends it with a 0; returns how many bytes come before
 * that: 0 if there is no such file. */
size_t hk_os_read_file(const char *path, char *text, size_t text_bytes);

/* The most that was ever resident of the process, in bytes; 0 if the kernel does not say. */
size_t hk_os_peak_resident_bytes(void);

/* The machine's memory in bytes; 0 if the kernel does not say. */
uint64_t hk_os_physical_bytes(void);

/* Whether the calling thread is the process's first one. */
bool hk_os_is_main_thread(void);

/* Gives up the processor. */
void hk_os_yield(void);

/* Sleeps until a wake, if *word is value; may return early. */
void hk_os_wait(_Atomic uint32_t *word, uint32_t value);

/* The same, but returns after ms milliseconds at the latest. */
void hk_os_wait_ms(_Atomic uint32_t *word, uint32_t value, uint64_t ms);

/* Whether every other thread of the process has ended, the first one among them; false if the
 * system does not say. */
bool hk_os_is_last_thread(void);

/* Wakes one sleeper. */
void hk_os_wake(_Atomic uint32_t *word);

#endif
