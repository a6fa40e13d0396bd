#include "hostile.h"

int main(void)
{
    char buffer[64] = {0};
    free(hide(buffer + 16));
    return HARMLESS;
}
