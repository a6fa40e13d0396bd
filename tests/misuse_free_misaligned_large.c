#include "misuse.h"

int main(void)
{
    return misuse_free_inside(8 * MIB, 1);
}
