#include "hostile.h"

int main(void)
{
    char *block = block_of(24);
    memset(hide(block + 24), 'b', 40);
    free(block);
    return HARMLESS;
}
