/*
 * convert: empty superslabs become free runs.
 *
 * The other direction is lend.h.  When there is no free run with resident pages for a block, the
 * Shared Pool may have empty superslabs that slabs have not needed since runs last asked for some.
 * A lent one goes back to its area.  Neighbours with mappings of their own become an area together.
 * In this way what a program has freed in one kind of blocks serves it for the other, and the
 * process does not grow, but for an area's descriptor.  (ADR 13.)
 */
#ifndef HK_CONVERT_H
#define HK_CONVERT_H

#include "run_area.h"

/* Makes free runs for a block of bytes out of what the slabs do not need.  New areas belong to the
 * part; lent slots go back to the part that they are from.  Nothing is done where there is less
 * than bytes.  Returns whether something has become a run. */
bool hk_convert_to_runs(hk_runs_t *part, size_t bytes);

#endif
