#include "misuse.h"

int main(void)
{
    return t_realloc(misuse_inside(512, 64), 5000) == NULL;
}
