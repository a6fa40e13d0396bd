#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE + 1);
    poke(block + LARGE + 1, 1);
    free(block);
    return HARMLESS;
}
