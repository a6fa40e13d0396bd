#include "hostile.h"

int main(void)
{
    /* All words of freed blocks point at a target. */
    static _Alignas(64) char target[256];
    static uintptr_t *blocks[64];
    for (int i = 0; i < 64; i++)
        blocks[i] = hide(malloc(64));
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    for (int i = 0; i < 64; i++) {
        for (int word = 0; word < 8; word++)
            ((volatile uintptr_t *)blocks[i])[word] = (uintptr_t)target;
    }
    for (int i = 0; i < 256; i++) {
        char *block = hide(malloc(64));
        if (block >= target && block < target + sizeof target)
            return WORKS;
    }
    return HARMLESS;
}
