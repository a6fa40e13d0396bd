#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    char *moved = hide(realloc(block, 16 * HUGE_BLOCK));
    if (moved == block)
        return LACKS;
    poke(block, 'b');
    return HARMLESS;
}
