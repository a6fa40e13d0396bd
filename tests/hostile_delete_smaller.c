#include "hostile.h"

/* operator new and a sized operator delete. */
void *_Znwm(size_t size) __attribute__((weak));
void _ZdlPvm(void *block, size_t size) __attribute__((weak));

int main(void)
{
    if (_Znwm == NULL || _ZdlPvm == NULL)
        return LACKS;
    void *object = hide(_Znwm(1));
    _ZdlPvm(object, 32);
    return HARMLESS;
}
