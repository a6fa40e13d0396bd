#include "hostile.h"

int main(void)
{
    char *block = hide(malloc(0));
    poke(block, 5);
    free(block);
    return HARMLESS;
}
