#include "misuse.h"

int main(void)
{
    char local[64];
    t_free_sized(misuse_announce(local + 16 - ((uintptr_t)local & 15)), 64);
    return 0;
}
