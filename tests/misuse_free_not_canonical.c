#include "misuse.h"

int main(void)
{
    t_free(misuse_announce((void *)(uintptr_t)UINT64_C(0x4141414141414140)));
    return 0;
}
