#include "misuse.h"

/* Blocks above 64 KiB are runs of pages once the process has had its first few of them. */
int main(void)
{
    enum { FIRST = 16 };
    for (int i = 0; i < FIRST; i++)
        (void)misuse_block(128 * KIB);
    return misuse_free_inside(128 * KIB, 64 * KIB);
}
