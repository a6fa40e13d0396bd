#include "hostile.h"

int main(void)
{
    char *block = block_of(48);
    in_thread(free_in_thread, block);
    poke(block + 16, 'b');
    return churn(48);
}
