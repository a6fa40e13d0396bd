#include "hostile.h"

int main(void)
{
    /* The string has no end: what lies behind the block ends it. */
    char *block = block_of(24);
    memset(block, 'a', malloc_usable_size(block));
    bool beyond = strlen(hide(block)) > malloc_usable_size(block);
    free(block);
    return beyond ? WORKS : HARMLESS;
}
