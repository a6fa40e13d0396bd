#include "hostile.h"

int main(void)
{
    static char *blocks[200];
    for (int i = 0; i < 200; i++)
        blocks[i] = block_of(24);
    for (int i = 0; i < 200; i++)
        poke(blocks[i] - 1, 1);
    for (int i = 0; i < 200; i++)
        free(blocks[i]);
    return HARMLESS;
}
