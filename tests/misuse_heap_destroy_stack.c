#include "misuse.h"

int main(void)
{
    char local[4096];
    memset(local, 0, sizeof local);
    void *volatile inside = local + 64 - ((uintptr_t)local & 63); /* or the compiler sees it */
    hak_heap_destroy((hak_heap_t *)misuse_announce(inside));
    return 0;
}
