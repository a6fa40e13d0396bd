/*
 * wall: Linux.  See wall.h.
 */
#define _GNU_SOURCE
#include "wall.h"

#include <errno.h>
#include <sys/mman.h>

#include "os.h"

void *hk_wall_reserve(size_t bytes, size_t alignment)
{
    size_t page = hk_os_page_bytes();
    size_t whole;
    if (__builtin_add_overflow(bytes, alignment + 2 * page, &whole)) {
        return NULL;
    }
    uintptr_t start = (uintptr_t)hk_os_reserve(whole, page);
    if (start == 0) {
        return NULL;
    }
    uintptr_t address = hk_align_up(start + page, alignment);
    hk_os_unmap_between(start, address - page);
    hk_os_unmap_between(address + bytes + page, start + whole);
    return (void *)address;
}

void *hk_wall_map(size_t bytes, size_t alignment)
{
    void *address = hk_wall_reserve(bytes, alignment);
    if (address != NULL && !hk_wall_open(address, bytes)) {
        hk_wall_unmap(address, bytes);
        return NULL;
    }
    return address;
}

void hk_wall_unmap(void *address, size_t bytes)
{
    size_t page = hk_os_page_bytes();
    hk_os_unmap((char *)address - page, bytes + 2 * page);
}

bool hk_wall_claim(void *address, size_t bytes)
{
    int saved = errno;
    void *claimed = mmap(address, bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    /* A kernel before 4.17 takes the address for a hint. */
    if (claimed != MAP_FAILED && claimed != address) {
        hk_os_unmap(claimed, bytes);
    }
    errno = saved;
    return claimed == address;
}

bool hk_wall_seal(void *address, size_t bytes)
{
    int saved = errno;
    bool done = mmap(address, bytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == address;
    errno = saved;
    return done;
}

bool hk_wall_close(void *address, size_t bytes)
{
    int saved = errno;
    bool done = mprotect(address, bytes, PROT_NONE) == 0;
    errno = saved;
    return done;
}

bool hk_wall_open(void *address, size_t bytes)
{
    int saved = errno;
    bool done = mprotect(address, bytes, PROT_READ | PROT_WRITE) == 0;
    errno = saved;
    return done;
}
