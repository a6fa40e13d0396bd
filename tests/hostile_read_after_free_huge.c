#include "hostile.h"

int main(void)
{
    char *block = block_of(HUGE_BLOCK);
    free(block);
    return peek(block + 5000) == 'a' ? WORKS : HARMLESS;
}
