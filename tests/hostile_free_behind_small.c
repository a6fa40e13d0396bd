#include "hostile.h"

int main(void)
{
    /* Where the next block would be. */
    free(block_of(10000) + 10240);
    return HARMLESS;
}
