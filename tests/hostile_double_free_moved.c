#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    char *moved = hide(realloc(block, 4000));
    if (moved == block)
        return LACKS;
    free(block);
    free(moved);
    return HARMLESS;
}
