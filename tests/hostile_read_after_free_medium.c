#include "hostile.h"

int main(void)
{
    char *block = block_of(3000);
    free(block);
    return peek(block + 2000) == 'a' ? WORKS : HARMLESS;
}
