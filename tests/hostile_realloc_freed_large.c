#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    free(block);
    (void)hide(realloc(block, 2 * LARGE));
    return HARMLESS;
}
