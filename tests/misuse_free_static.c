#include "misuse.h"

static _Alignas(16) char object[64];

int main(void)
{
    t_free(misuse_announce(object));
    return 0;
}
