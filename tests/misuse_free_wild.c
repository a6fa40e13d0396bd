#include "misuse.h"

int main(void)
{
    t_free(misuse_announce((void *)(uintptr_t)UINT64_C(0x123456789a0)));
    return 0;
}
