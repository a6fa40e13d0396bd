#include "hostile.h"

int main(void)
{
    /* The word before a small block says how large it is, elsewhere. */
    uintptr_t *block = hide(malloc(24));
    uintptr_t *next = hide(malloc(24));
    ((volatile uintptr_t *)hide(block))[-1] = 0x101;
    free(block);
    bool larger = hide(malloc(0xf0)) == block;
    free(next);
    return larger ? WORKS : HARMLESS;
}
