#include "misuse.h"

static void *free_it(void *block)
{
    t_free(block);
    (void)misuse_survived();
    return NULL;
}

int main(void)
{
    void *block = misuse_announce(misuse_block(200));
    t_free(block);
    test_join(test_thread(free_it, block));
    return 0;
}
