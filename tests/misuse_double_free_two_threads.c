#include "misuse.h"

static void *free_it(void *block)
{
    t_free(block);
    return NULL;
}

int main(void)
{
    void *block = misuse_announce(misuse_block(200));
    test_join(test_thread(free_it, block));
    test_join(test_thread(free_it, block));
    return 0;
}
