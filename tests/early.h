/*
 * early: a library of the program's, whose constructor runs before HAKMEM's.
 */
#ifndef EARLY_H
#define EARLY_H

#include <stddef.h>

enum { EARLY_BYTES = 100000, EARLY_BLOCKS = 4 };

/* What the constructor allocated. */
extern char *early_blocks[EARLY_BLOCKS];

/* How many children it forked while its threads allocated, and how many of them came to an end. */
extern int early_forked, early_ended;

#endif
