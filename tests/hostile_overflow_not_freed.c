#include "hostile.h"

int main(void)
{
    char *block = block_of(24);
    poke(block + 24, 1);
    return HARMLESS;
}
