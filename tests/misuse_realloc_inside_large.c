#include "misuse.h"

int main(void)
{
    return t_realloc(misuse_inside(8 * MIB, 64 * KIB), 100) == NULL;
}
