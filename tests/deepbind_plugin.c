/*
 * What libc_deepbind.c loads: a library that frees a block of the program's, and gives it one of
 * its own.
 */
#include <stdlib.h>

void *plugin_exchange(void *block);

void *plugin_exchange(void *block)
{
    free(block);
    return malloc(100);
}
