/*
 * Many blocks that grow in turn, a little at a time, as buffers do: each is moved a number of times that goes with the logarithm of its size,
 * not with the number of steps.
 */
#include "test.h"

#include <hakmem/hakmem.h>

enum { BUFFERS = 16, MOVES_PER_DOUBLING = 10 };

static char *buffers[BUFFERS];

static unsigned grow_all(size_t from, size_t to, size_t step)
{
    unsigned moves = 0;
    for (size_t size = from; size <= to; size += step) {
        for (size_t i = 0; i < BUFFERS; i++) {
            char *moved = hak_realloc(buffers[i], size);
            CHECK(moved != NULL && hak_usable_size(moved) >= size);
            moves += moved != buffers[i];
            CHECK(size == from || moved[0] == (char)i);
            moved[0] = (char)i;
            buffers[i] = moved;
        }
    }
    return moves;
}

int main(void)
{
    unsigned moves = grow_all(64 * KIB, MIB, 4 * KIB);
    CHECKF(moves <= BUFFERS * 4 * MOVES_PER_DOUBLING, " (%u moves)", moves);
    for (size_t i = 0; i < BUFFERS; i++)
        hak_free(buffers[i]);
    CHECK(hak_check() == 0);
    return 0;
}
