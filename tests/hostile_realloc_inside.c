#include "hostile.h"

int main(void)
{
    (void)hide(realloc(block_of(64) + 16, 200));
    return HARMLESS;
}
