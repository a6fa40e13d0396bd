#include "misuse.h"

int main(void)
{
    t_free_sized(misuse_announce(misuse_block(8 * MIB)), 1000);
    return 0;
}
