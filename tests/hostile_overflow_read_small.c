#include "hostile.h"

int main(void)
{
    char *block = block_of(24);
    char *next = block_of(24);
    bool found = memchr(hide(block + 25), 'a', 64) != NULL;
    free(block);
    free(next);
    return found ? WORKS : HARMLESS;
}
