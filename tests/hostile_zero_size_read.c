#include "hostile.h"

int main(void)
{
    char *block = hide(malloc(0));
    (void)peek(block);
    free(block);
    return HARMLESS;
}
