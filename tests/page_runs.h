/*
 * Runs of whole pages for tests of runs themselves, below the malloc family.
 */
#ifndef HAKMEM_PAGE_RUNS_H
#define HAKMEM_PAGE_RUNS_H

#include "run.h"
#include "test.h"

static size_t page_bytes; /* the test sets it first */

static hk_run_t *allocate(size_t pages)
{
    bool fresh;
    hk_run_t *run = hk_run_allocate(pages * page_bytes, 1, &fresh);
    CHECK(run != NULL && hk_run_area_pages(run) == pages);
    return run;
}

#endif
