#include "hostile.h"

int main(void)
{
    char *block = block_of(40);
    in_thread(free_in_thread, block);
    in_thread(free_in_thread, block);
    return HARMLESS;
}
