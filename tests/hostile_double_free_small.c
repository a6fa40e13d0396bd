#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    free(block);
    free(block);
    return HARMLESS;
}
