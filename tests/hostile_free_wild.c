#include "hostile.h"

int main(void)
{
    free(hide((void *)(uintptr_t)0x123456789a0));
    return HARMLESS;
}
