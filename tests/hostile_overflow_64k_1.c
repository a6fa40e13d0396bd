#include "hostile.h"

int main(void)
{
    char *block = block_of(64 * KIB);
    poke(block + 64 * KIB, 1);
    free(block);
    return HARMLESS;
}
