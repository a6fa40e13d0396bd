#include "misuse.h"

int main(void)
{
    char local[64];
    t_free(misuse_announce(local + 16 - ((uintptr_t)local & 15)));
    return 0;
}
