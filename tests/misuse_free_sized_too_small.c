#include "misuse.h"

int main(void)
{
    t_free_sized(misuse_announce(misuse_block(1000)), 100);
    return 0;
}
