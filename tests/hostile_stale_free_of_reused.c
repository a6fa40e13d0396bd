#include "hostile.h"

int main(void)
{
    /* Whoever gets the block next loses it. */
    char *block = block_of(40);
    free(block);
    char *victim = hide(malloc(40));
    if (victim != block)
        return HARMLESS;
    free(block);
    return hide(malloc(40)) == victim ? WORKS : HARMLESS;
}
