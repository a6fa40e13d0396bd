#include "misuse.h"

int main(void)
{
    return misuse_free_inside(1 * MIB, 4096);
}
