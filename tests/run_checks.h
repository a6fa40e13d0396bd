/*
 * What the tests of runs of pages share: what holds at all times, blocks with others behind them,
 * and the same tests on the system's pages and on larger ones.
 */
#ifndef HAKMEM_RUN_CHECKS_H
#define HAKMEM_RUN_CHECKS_H

#include "test.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "limit.h"
#include "run.h"

static size_t page_bytes;

/* What there was before the first area, without the registry's leaves: an area may lie where the
 * map has none yet. */
static size_t base_charge, base_mapped;

static void add_leaf_bytes(const void *address, size_t bytes, void *context)
{
    CHECK(address != NULL);
    *(size_t *)context += bytes;
}

static size_t leaf_bytes(void)
{
    size_t bytes = 0;
    hk_registry_each_leaf(add_leaf_bytes, &bytes);
    return bytes;
}

static void check_all(void)
{
    CHECK(hak_check() == 0);
    CHECK(!hk_lock_is_held(&hk_runs->lock));
    CHECKF(hk_limit_committed_bytes() - leaf_bytes() ==
               base_charge + hk_run_used_bytes() + hk_run_warm_bytes() + hk_run_descriptor_bytes(),
           " (%zu)", hk_limit_committed_bytes() - base_charge);
    CHECK(fake_os.mapped_bytes - leaf_bytes() - base_mapped ==
          hk_run_mapped_bytes() + hk_run_descriptor_bytes());
}

/* No block is left: after a purge nothing else is. */
static void check_empty(void)
{
    check_all();
    CHECK(hk_run_used_bytes() == 0);
    (void)hk_run_purge(0);
    check_all();
    CHECK(hk_runs->areas == NULL && hk_runs->area_count == 0);
    CHECK(hk_run_mapped_bytes() == 0 && hk_run_warm_bytes() == 0);
    CHECK(hk_limit_committed_bytes() - leaf_bytes() == base_charge);
    CHECK(fake_os.mapped_bytes - leaf_bytes() == base_mapped);
}

static hk_run_t *allocate(size_t pages, size_t alignment, bool expect_fresh)
{
    bool fresh = !expect_fresh;
    hk_run_t *run = hk_run_allocate(pages * page_bytes, alignment, &fresh);
    CHECK(run != NULL && fresh == expect_fresh);
    char *address = hk_run_address(run);
    CHECK(hk_run_bytes(run) == pages * page_bytes && run->heap == NULL);
    CHECK(test_is_aligned(address, page_bytes) && test_is_aligned(address, alignment));
    CHECK(hk_registry_find(address) == &run->area->region);
    CHECK(hk_run_find(run->area, address) == run);
    return run;
}

/* A block of so many pages, to be freed later, and one behind it, which is returned: so it is not
 * merged with what is free there. */
static hk_run_t *make_hole(size_t pages, hk_run_t **hole)
{
    *hole = allocate(pages, 1, true);
    return allocate(1, 1, true);
}

static void test_pages(void (*tests)(void), size_t bytes)
{
    page_bytes = bytes;
    fake_os.page_bytes = bytes;
    base_charge = hk_limit_committed_bytes() - leaf_bytes();
    base_mapped = fake_os.mapped_bytes - leaf_bytes();
    tests();
}

/* All tests with one size of pages after the other. */
static void test_on_pages(void (*tests)(void))
{
    /* The allocator's own memory, and the registry's leaf, are there before anything is counted. */
    void *first = hak_malloc(1);
    CHECK(first != NULL && hak_check() == 0);
    bool fresh;
    hk_run_t *run = hk_run_allocate(1, 1, &fresh);
    CHECK(run != NULL && hk_run_free(run));
    (void)hk_run_purge(0);
    size_t system = (size_t)sysconf(_SC_PAGESIZE);
    test_pages(tests, system);
    if (system < 16 * KIB)
        test_pages(tests, 16 * KIB);
    fake_os.page_bytes = 0;
    page_bytes = system;
    hak_free(first);
    CHECK(hak_check() == 0);
}

#endif
