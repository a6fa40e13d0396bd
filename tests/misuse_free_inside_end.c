#include "misuse.h"

/* Behind it lies a live block that begins within 16 bytes. */
int main(void)
{
    char *block = misuse_block(64);
    CHECK(misuse_block(64) == block + 64);
    t_free(misuse_announce(block + 56));
    return misuse_survived();
}
