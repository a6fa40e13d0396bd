#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    free(block);
    char *next = block_of(LARGE);
    poke(block, 'b');
    return peek(next) == 'b' ? WORKS : HARMLESS;
}
