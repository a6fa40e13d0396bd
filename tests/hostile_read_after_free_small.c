#include "hostile.h"

int main(void)
{
    char *block = block_of(64);
    free(block);
    return peek(block + 40) == 'a' ? WORKS : HARMLESS;
}
