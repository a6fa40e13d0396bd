#include "misuse.h"

int main(void)
{
    void *block = misuse_announce(misuse_block(100));
    void *other = misuse_block(100);
    t_free(block);
    t_free(other);
    t_free(block);
    return misuse_survived();
}
