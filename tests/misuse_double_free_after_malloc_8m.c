#include "misuse.h"

int main(void)
{
    return misuse_free_twice_after_malloc(8 * MIB);
}
