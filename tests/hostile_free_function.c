#include "hostile.h"

int main(void)
{
    free(hide((void *)(uintptr_t)free_in_thread));
    return HARMLESS;
}
