#include "misuse.h"

/* A thread that frees blocks of pages all the time keeps a few for itself. */
int main(void)
{
    enum { ROUNDS = 1000, BYTES = 100000 };
    void *block = misuse_block(BYTES);
    for (int i = 0; i < ROUNDS; i++) {
        t_free(block);
        block = t_malloc(BYTES);
        CHECK(block != NULL);
    }
    misuse_announce(block);
    t_free(block);
    t_free(block);
    return misuse_survived();
}
