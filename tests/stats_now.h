/*
 * HAKMEM's statistics in a test.
 */
#ifndef HAKMEM_STATS_NOW_H
#define HAKMEM_STATS_NOW_H

#include "test.h"

#include <hakmem/hakmem.h>

static inline hak_stats_t stats_now(void)
{
    hak_stats_t stats;
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
    return stats;
}

#endif
