#include "hostile.h"

int main(void)
{
    char buffer[64] = {0};
    (void)hide(realloc(hide(buffer + 16), 100));
    return HARMLESS;
}
