#include "hostile.h"

int main(void)
{
    char *block = block_of(32);
    free(block);
    poke(block, 'b');
    return churn(32);
}
