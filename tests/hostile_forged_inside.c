#include "hostile.h"

int main(void)
{
    /* A forged block inside a live one. */
    uintptr_t *block = hide(malloc(512));
    memset(block, 0, 512);
    block[3] = 0x40;
    block[11] = 0x40;
    free(hide(&block[4]));
    return hide(malloc(0x30)) == &block[4] ? WORKS : HARMLESS;
}
