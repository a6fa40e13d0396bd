#include "hostile.h"

int main(void)
{
    char *block = block_of(8);
    strcpy(block, hide("a name that is too long"));
    free(block);
    return HARMLESS;
}
