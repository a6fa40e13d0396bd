#include "misuse.h"

int main(void)
{
    void *block = misuse_announce(misuse_block(100));
    t_free(block);
    return t_realloc(block, 9000) == NULL;
}
