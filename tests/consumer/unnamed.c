/* A program that names no function of HAKMEM's: only what it calls allocates. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    puts(dlsym(RTLD_DEFAULT, "hak_version") != NULL ? "consumer: ok" : "no HAKMEM");
    return 0;
}
