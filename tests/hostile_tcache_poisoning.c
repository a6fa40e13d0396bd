#include "hostile.h"

int main(void)
{
    /* A freed block's link is made to point at a target, as glibc hides it and plain. */
    static _Alignas(64) char target[64];
    for (int plain = 0; plain < 2; plain++) {
        char *first = block_of(40);
        char *second = block_of(40);
        free(first);
        free(second);
        uintptr_t mask = plain ? 0 : (uintptr_t)second >> 12;
        *(volatile uintptr_t *)hide(second) = (uintptr_t)target ^ mask;
        for (int i = 0; i < 16; i++) {
            if (hide(malloc(40)) == target)
                return WORKS;
        }
    }
    return HARMLESS;
}
