#include "hostile.h"

int main(void)
{
    return malloc_usable_size(block_of(64) + 16) > 0 ? WORKS : HARMLESS;
}
