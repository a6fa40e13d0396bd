/*
 * deepbind: dlopen without RTLD_DEEPBIND.  A library that is loaded with it finds the C library's
 * malloc before HAKMEM's, frees the program's blocks there, and the program crashes; PHP loads all
 * its extensions so.  In the shared library only: who links the archive may be a static program,
 * which has no other dlopen to go to.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hakmem/hakmem.h>

/* Before glibc 2.34 dlopen lies in a library of its own, which need not be there. */
#if !defined(HK_NO_OVERRIDE) && defined(RTLD_DEEPBIND) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 34)

/* The C library asks who has called: for that one's run path, and its namespace.  So this must be a
 * jump, and is one at -O2; tests/libc_deepbind.c loads by the run path. */
HAK_API void *dlopen(const char *file, int mode)
{
    void *(*next)(const char *, int);
    *(void **)(void *)&next = dlsym(RTLD_NEXT, "dlopen");
    return next == NULL ? NULL : next(file, mode & ~RTLD_DEEPBIND);
}

#endif
#endif
