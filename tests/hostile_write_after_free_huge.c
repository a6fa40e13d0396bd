#include "hostile.h"

int main(void)
{
    char *block = block_of(HUGE_BLOCK);
    free(block);
    poke(block + 5000, 'b');
    return HARMLESS;
}
