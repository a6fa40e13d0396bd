/*
 * Unwinding while unwind tables are registered, as a program with generated code does: libgcc_s
 * then sorts them under a lock of its own, and allocates for that.  preload_guard.py has each block
 * sampled meanwhile; run with LD_PRELOAD=libhakmem.so.
 */
#include "test.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <sys/mman.h>

/* A table of one function, at `code`: a common entry that says how frames are laid out (x86-64's,
 * whose details nobody looks at here), the function's own, and the end. */
static void make_table(unsigned char *table, uint64_t code, uint64_t code_bytes)
{
    static const unsigned char common[] = {16, 0,    0,  0,    0, 0, 0,    0, 1, 0,
                                           1,  0x78, 16, 0x0c, 7, 8, 0x90, 1, 0, 0};
    const uint32_t length = 20, back = sizeof common + 4;
    memcpy(table, common, sizeof common);
    table += sizeof common;
    memcpy(table, &length, 4);
    memcpy(table + 4, &back, 4);
    memcpy(table + 8, &code, 8);
    memcpy(table + 16, &code_bytes, 8);
}

int main(void)
{
    static unsigned char tables[64][128];
    void *frames[16];
    void *unwinder = dlopen("libgcc_s.so.1", RTLD_NOW);
    CHECK(unwinder != NULL);
    void (*register_frame)(void *);
    *(void **)&register_frame = dlsym(unwinder, "__register_frame");
    CHECK(register_frame != NULL);
    char *code = mmap(NULL, 64 << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    for (int i = 0; i < 64; i++) {
        make_table(tables[i], (uint64_t)(uintptr_t)(code + (i << 12)), 1 << 12);
        register_frame(tables[i]);
        CHECK(backtrace(frames, 16) > 0);
        char *block = malloc(100);
        memset(block, 1, 100);
        free(block);
    }
    return 0;
}
