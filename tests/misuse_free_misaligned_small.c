#include "misuse.h"

int main(void)
{
    return misuse_free_inside(64, 1);
}
