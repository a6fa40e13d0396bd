#include "hostile.h"

int main(void)
{
    char *block = block_of(HUGE_BLOCK);
    poke(block + HUGE_BLOCK, 1);
    free(block);
    return HARMLESS;
}
