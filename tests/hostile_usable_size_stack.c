#include "hostile.h"

int main(void)
{
    char buffer[64] = {0};
    return malloc_usable_size(hide(buffer + 16)) > 0 ? WORKS : HARMLESS;
}
