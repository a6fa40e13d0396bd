#include "hostile.h"

int main(void)
{
    char *block = block_of(200);
    poke(block + 200, 1);
    in_thread(free_in_thread, block);
    return HARMLESS;
}
