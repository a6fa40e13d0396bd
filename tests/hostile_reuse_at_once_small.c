#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    free(block);
    return hide(malloc(40)) == block ? WORKS : HARMLESS;
}
