#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    free(block);
    free(block);
    return HARMLESS;
}
