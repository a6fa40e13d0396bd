#include "hostile.h"

int main(void)
{
    /* free a, b, a: three blocks come back, of which two are one. */
    static char *cached[7];
    for (int i = 0; i < 7; i++)
        cached[i] = block_of(40);
    char *first = block_of(40);
    char *second = block_of(40);
    for (int i = 0; i < 7; i++)
        free(cached[i]);
    free(first);
    free(second);
    free(first);
    for (int i = 0; i < 7; i++)
        cached[i] = block_of(40);
    char *one = block_of(40);
    char *two = block_of(40);
    char *three = block_of(40);
    return one == two || two == three || one == three ? WORKS : HARMLESS;
}
