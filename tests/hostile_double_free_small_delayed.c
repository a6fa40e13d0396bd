#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    char *other = block_of(40);
    free(block);
    free(other);
    free(block);
    return HARMLESS;
}
