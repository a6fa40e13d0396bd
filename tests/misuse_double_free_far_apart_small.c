#include "misuse.h"

int main(void)
{
    return misuse_free_twice_far_apart(48);
}
