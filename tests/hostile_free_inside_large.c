#include "hostile.h"

int main(void)
{
    free(block_of(LARGE) + 4096);
    return HARMLESS;
}
