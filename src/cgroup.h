/*
 * cgroup: the memory limit of the process's control group, version 2 or 1.
 *
 * It reads files, and only when a share of the limit is asked for.  No state.
 */
#ifndef HK_CGROUP_H
#define HK_CGROUP_H

#include "base.h"

/* The lowest memory limit of the process's group and the groups above it, in bytes; 0 if there is
 * none. */
uint64_t hk_cgroup_limit_bytes(void);

#endif
