#include "hostile.h"

int main(void)
{
    char *block = block_of(128);
    free(block);
    poke(block + 65, 'b');
    return churn(128);
}
