#include "hostile.h"

int main(void)
{
    free(hide(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    return HARMLESS;
}
