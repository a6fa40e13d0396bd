#include "hostile.h"

int main(void)
{
    char *block = block_of(64 * KIB);
    free(block);
    free(block);
    return HARMLESS;
}
