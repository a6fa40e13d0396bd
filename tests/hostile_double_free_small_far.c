#include "hostile.h"

int main(void)
{
    static char *others[2000];
    char *block = block_of(40);
    for (int i = 0; i < 2000; i++)
        others[i] = block_of(40);
    free(block);
    for (int i = 0; i < 2000; i++)
        free(others[i]);
    free(block);
    return HARMLESS;
}
