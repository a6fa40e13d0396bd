#include "misuse.h"

int main(void)
{
    void *block = misuse_announce(misuse_block(8 * MIB));
    t_free(block);
    return t_realloc(block, 16 * MIB) == NULL;
}
