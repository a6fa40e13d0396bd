#include "hostile.h"

int main(void)
{
    static _Alignas(16) char buffer[64];
    free(hide(buffer));
    return HARMLESS;
}
