#include "hostile.h"

int main(void)
{
    free(block_of(LARGE));
    char *block = hide(malloc(LARGE));
    return peek(block + 80) == 'a' ? WORKS : HARMLESS;
}
