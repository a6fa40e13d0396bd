#include "hostile.h"

int main(void)
{
    /* A forged block on the stack, with sizes where glibc looks for them. */
    _Alignas(64) uintptr_t forged[64] = {0};
    forged[1] = 0x40;
    forged[9] = 0x1234;
    free(hide(&forged[2]));
    return hide(malloc(0x30)) == &forged[2] ? WORKS : HARMLESS;
}
