#include "misuse.h"

int main(void)
{
    char local[4096];
    memset(local, 0, sizeof local);
    hak_heap_destroy((hak_heap_t *)misuse_announce(local + 64 - ((uintptr_t)local & 63)));
    return 0;
}
