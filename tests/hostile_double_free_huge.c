#include "hostile.h"

int main(void)
{
    char *block = block_of(HUGE_BLOCK);
    free(block);
    free(block);
    return HARMLESS;
}
