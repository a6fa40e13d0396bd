#include "hostile.h"

int main(void)
{
    char *block = block_of(3000);
    free(block);
    poke(block + 8, 'b');
    return churn(3000);
}
