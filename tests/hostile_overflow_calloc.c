#include "hostile.h"

int main(void)
{
    char *block = hide(calloc(3, 7));
    poke(block + 21, 1);
    free(block);
    return HARMLESS;
}
