#include "hostile.h"

int main(void)
{
    char *block = block_of(24);
    memset(hide(block + 24), 1, 8);
    free(block);
    return HARMLESS;
}
