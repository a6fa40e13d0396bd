#include "hostile.h"

int main(void)
{
    char *block = hide(aligned_alloc(64, 64));
    poke(block + 64, 1);
    free(block);
    return HARMLESS;
}
