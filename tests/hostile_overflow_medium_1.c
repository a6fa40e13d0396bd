#include "hostile.h"

int main(void)
{
    char *block = block_of(3000);
    poke(block + 3000, 1);
    free(block);
    return HARMLESS;
}
