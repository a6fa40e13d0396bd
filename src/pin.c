/*
 * pin: keeps the shared object that the archive was linked into loaded.  A plugin may be closed,
 * but the C library goes on calling HAKMEM: at a fork, at a thread's end.  This is in the archive
 * only: libhakmem.so says the same by -z nodelete.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>

#include "base.h"
#include "log.h"

/* Weak, and dlopen by its name only: a fully static program need not have them, and a linker that
 * sees dlopen there warns.  Before glibc 2.34 they lie in a library of their own, which a program
 * that loads plugins has. */
#pragma weak dladdr1
#pragma weak dlsym

__attribute__((constructor)) static void pin(void)
{
    Dl_info info;
    struct link_map *object;
    if (dladdr1 == NULL || dlsym == NULL ||
        dladdr1((void *)&pin, &info, (void **)&object, RTLD_DL_LINKMAP) == 0 ||
        object->l_name[0] == '\0') { /* the program itself */
        return;
    }
    void *(*open)(const char *, int);
    *(void **)(void *)&open = dlsym(RTLD_DEFAULT, "dlopen");
    if (open == NULL || open(object->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) == NULL) {
        hk_log_warning("cannot stay loaded after dlclose:", object->l_name);
    }
}
