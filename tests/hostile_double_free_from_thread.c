#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    in_thread(free_in_thread, block);
    free(block);
    return HARMLESS;
}
