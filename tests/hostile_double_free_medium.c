#include "hostile.h"

int main(void)
{
    char *block = block_of(3000);
    free(block);
    free(block);
    return HARMLESS;
}
