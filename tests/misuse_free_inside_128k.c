#include "misuse.h"

int main(void)
{
    return misuse_free_inside(128 * KIB, 64 * KIB);
}
