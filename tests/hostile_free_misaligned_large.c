#include "hostile.h"

int main(void)
{
    free(block_of(LARGE) + 1);
    return HARMLESS;
}
