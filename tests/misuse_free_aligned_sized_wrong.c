#include "misuse.h"

int main(void)
{
    void *block = t_aligned_alloc(256, 1000);
    CHECK(block != NULL);
    t_free_aligned_sized(misuse_announce(block), 256, 9000);
    return 0;
}
