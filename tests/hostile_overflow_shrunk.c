#include "hostile.h"

int main(void)
{
    char *block = block_of(100);
    block = hide(realloc(block, 60));
    poke(block + 60, 1);
    free(block);
    return HARMLESS;
}
