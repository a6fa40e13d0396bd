#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    char *other = block_of(LARGE);
    free(block);
    free(other);
    free(block);
    return HARMLESS;
}
