#include "misuse.h"

static void *free_it(void *block)
{
    t_free(block);
    return NULL;
}

/* Of a class that is hardly used: its blocks pass by the magazines, and a remote free is first seen
 * when its block is to be handed out. */
int main(void)
{
    void *block = misuse_announce(misuse_block(3000));
    test_join(test_thread(free_it, block));
    t_free(block);
    (void)misuse_block(3000);
    return misuse_survived();
}
