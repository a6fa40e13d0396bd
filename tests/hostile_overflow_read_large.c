#include "hostile.h"

int main(void)
{
    char *block = block_of(LARGE);
    (void)peek(block + LARGE);
    free(block);
    return HARMLESS;
}
