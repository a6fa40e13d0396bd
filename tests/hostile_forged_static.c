#include "hostile.h"

int main(void)
{
    static _Alignas(4096) uintptr_t forged[2048];
    forged[1] = 0x90;
    forged[19] = 0x91;
    forged[37] = 0x91;
    free(hide(&forged[2]));
    return hide(malloc(0x80)) == &forged[2] ? WORKS : HARMLESS;
}
