#include "misuse.h"

int main(void)
{
    return misuse_free_twice(48);
}
