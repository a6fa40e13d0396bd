/*
 * A library loaded with RTLD_DEEPBIND, as PHP loads its extensions: blocks go between it and the
 * program.  It is found by the program's own run path, which the C library looks up by the address
 * that dlopen was called from.
 */
#include "test.h"

static void exchange_blocks(void *handle)
{
    CHECKF(handle != NULL, " (%s)", dlerror());
    void *(*exchange)(void *);
    *(void **)(void *)&exchange = dlsym(handle, "plugin_exchange");
    CHECK(exchange != NULL);
    for (size_t size = 16; size <= 1 << 20; size *= 2) {
        char *block = malloc(size);
        CHECK(block != NULL);
        block = exchange(block);
        CHECK(block != NULL);
        free(block);
    }
    CHECK(test_preloaded_check() == 0);
    CHECK(dlclose(handle) == 0);
}

int main(void)
{
    test_require_preload();
    const char *plugin = "libdeepbind_plugin.so";
    int mode = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
    exchange_blocks(dlopen(plugin, mode));
    exchange_blocks(dlmopen(LM_ID_BASE, plugin, mode));
    CHECK(dlopen("no such library", RTLD_NOW | RTLD_DEEPBIND) == NULL);
    CHECK(dlerror() != NULL);
    CHECK(dlmopen(LM_ID_NEWLM, "no such library", RTLD_NOW | RTLD_DEEPBIND) == NULL);
    puts("libc_deepbind: ok");
    return 0;
}
