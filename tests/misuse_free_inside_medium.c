#include "misuse.h"

int main(void)
{
    return misuse_free_inside(9000, 4096);
}
