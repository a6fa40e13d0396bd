#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    free(block);
    free(block);
    return hide(malloc(40)) == hide(malloc(40)) ? WORKS : HARMLESS;
}
