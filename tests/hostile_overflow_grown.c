#include "hostile.h"

int main(void)
{
    char *block = block_of(100);
    block = hide(realloc(block, 500));
    poke(block + 500, 1);
    block = hide(realloc(block, 1000));
    free(block);
    return HARMLESS;
}
