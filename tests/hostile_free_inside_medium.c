#include "hostile.h"

int main(void)
{
    free(block_of(3000) + 1024);
    return HARMLESS;
}
