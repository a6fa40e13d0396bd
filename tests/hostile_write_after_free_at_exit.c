#include "hostile.h"

int main(void)
{
    char *block = block_of(48);
    free(block);
    poke(block + 16, 'b');
    return HARMLESS;
}
