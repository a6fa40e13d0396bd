#include "hostile.h"

int main(void)
{
    free(block_of(64) + 16);
    return HARMLESS;
}
