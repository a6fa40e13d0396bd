#include "hostile.h"

int main(void)
{
    free(hide((void *)(uintptr_t)1));
    return HARMLESS;
}
