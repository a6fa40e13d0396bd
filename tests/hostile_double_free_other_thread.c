#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    free(block);
    in_thread(free_in_thread, block);
    return HARMLESS;
}
