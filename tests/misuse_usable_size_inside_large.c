#include "misuse.h"

int main(void)
{
    return t_usable_size(misuse_inside(8 * MIB, 2 * MIB)) == 1;
}
