#include "misuse.h"

static _Alignas(16) char object[64];

int main(void)
{
    return t_realloc(misuse_announce(object), 100) == NULL;
}
