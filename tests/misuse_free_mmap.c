#include "misuse.h"

int main(void)
{
    char *mapping =
        (char *)mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapping != (char *)MAP_FAILED);
    t_free(misuse_announce(mapping + 64 * KIB));
    return 0;
}
