/*
 * The housekeeper thread starts in a program whose thread-local data are larger than its stack
 * would be: the C library takes them out of that.
 */
#include "test.h"

#include <hakmem/hakmem.h>

static __thread volatile char data[512 << 10];

int main(void)
{
    data[sizeof data - 1] = 1;
    CHECK(hak_housekeeper_start() == 0);
    hak_housekeeper_stop();
    return 0;
}
