#include "misuse.h"

int main(void)
{
    (void)t_usable_size(misuse_inside(512, 16));
    return misuse_survived();
}
