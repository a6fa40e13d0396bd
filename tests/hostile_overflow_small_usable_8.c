#include "hostile.h"

int main(void)
{
    char *block = block_of(8);
    poke(block + malloc_usable_size(block) + 7, 1);
    free(block);
    return HARMLESS;
}
