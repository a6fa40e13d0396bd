#include "misuse.h"

int main(void)
{
    t_free_sized(misuse_announce(misuse_block(100)), 1000);
    return 0;
}
