/*
 * A C program that loads C++ code, with the shared C++ runtime and with one linked in: neither is
 * there when HAKMEM is loaded.
 */
#include "test.h"

static void run(const char *plugin)
{
    void *handle = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    CHECKF(handle != NULL, " (%s)", dlerror());
    void (*plugin_run)(void);
    *(void **)(void *)&plugin_run = dlsym(handle, "plugin_run");
    CHECK(plugin_run != NULL);
    plugin_run();
    CHECK(test_preloaded_check() == 0);
}

int main(void)
{
    test_require_preload();
    run("libcxx_plugin_static.so");
    run("libcxx_plugin_linked.so");
    CHECK(dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv") == NULL);
    run("libcxx_plugin_shared.so");
    puts("libc_cxx_plugin: ok");
    return 0;
}
