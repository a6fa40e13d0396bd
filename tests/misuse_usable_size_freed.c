#include "misuse.h"

int main(void)
{
    void *block = misuse_announce(misuse_block(100));
    t_free(block);
    (void)t_usable_size(block);
    return misuse_survived();
}
