#include "misuse.h"

int main(void)
{
    return misuse_free_twice(64 * KIB);
}
