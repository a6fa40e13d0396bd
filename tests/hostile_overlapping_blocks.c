#include "hostile.h"

int main(void)
{
    /* A block's size in the header before it is made larger, so that it covers the next one when it
     * is reused. */
    char *first = block_of(0x4f8);
    uintptr_t *second = hide(malloc(0x4f8));
    char *third = block_of(0x4f8);
    char *fence = block_of(0x18);
    ((volatile uintptr_t *)hide(second))[-1] = 0xa01;
    free(second);
    char *larger = hide(malloc(0x9f0));
    bool overlaps = larger < third + 0x4f8 && larger + 0x9f0 > third;
    (void)first;
    (void)fence;
    return overlaps ? WORKS : HARMLESS;
}
