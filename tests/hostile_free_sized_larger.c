#include "hostile.h"

void free_sized(void *block, size_t size) __attribute__((weak));

int main(void)
{
    if (free_sized == NULL)
        return LACKS;
    free_sized(block_of(64), 4096);
    return HARMLESS;
}
