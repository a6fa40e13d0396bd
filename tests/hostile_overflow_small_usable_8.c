#include "hostile.h"

int main(void)
{
    char *block = block_of(8);
    char *last = block + malloc_usable_size(block) + 7;
    poke(last, (char)~peek(last));
    free(block);
    return HARMLESS;
}
