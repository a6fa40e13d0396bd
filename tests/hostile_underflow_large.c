#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    poke(block - 1, 1);
    free(block);
    return HARMLESS;
}
