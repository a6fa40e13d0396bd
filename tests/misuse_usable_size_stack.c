#include "misuse.h"

int main(void)
{
    char local[64];
    return t_usable_size(misuse_announce(local + 16 - ((uintptr_t)local & 15))) == 1;
}
