#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    free(block);
    block = hide(realloc(block, 100));
    return HARMLESS;
}
