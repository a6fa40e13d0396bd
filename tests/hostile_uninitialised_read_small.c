#include "hostile.h"

int main(void)
{
    for (int i = 0; i < 1000; i++)
        free(block_of(100));
    for (int i = 0; i < 1000; i++) {
        char *block = hide(malloc(100));
        if (peek(block + 80) == 'a')
            return WORKS;
        free(block);
    }
    return HARMLESS;
}
