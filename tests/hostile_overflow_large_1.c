#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    poke(block + malloc_usable_size(block), 1);
    free(block);
    return HARMLESS;
}
