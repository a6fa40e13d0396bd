#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    free(block);
    return malloc_usable_size(hide(block)) > 0 ? WORKS : HARMLESS;
}
