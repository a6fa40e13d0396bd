/* A C program on an installed HAKMEM. */
#define _GNU_SOURCE
#include "consumer.h"

int main(void)
{
    check_library();
    check_fork();
    puts("consumer: ok");
    return 0;
}
