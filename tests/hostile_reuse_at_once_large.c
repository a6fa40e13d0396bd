#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    free(block);
    return hide(malloc(LARGE)) == block ? WORKS : HARMLESS;
}
