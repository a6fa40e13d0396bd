/*
 * deepbind: a dlopen and a dlmopen that drop RTLD_DEEPBIND.  A library loaded with that flag finds
 * the C library's malloc before HAKMEM's.  It then frees the program's blocks there, and the
 * program crashes; PHP loads all its extensions so.  This is in the shared library only: a program
 * that links the archive may be static, and then has no other dlopen to call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hakmem/hakmem.h>

/* Before glibc 2.34 dlopen lies in a library of its own, which need not be there. */
#if !defined(HK_NO_OVERRIDE) && defined(RTLD_DEEPBIND) && defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 34)

/* The C library looks at its caller, whose run path and namespace it uses.  So the call must be a
 * jump, whatever CFLAGS say: CMakeLists.txt optimizes this file.  tests/libc_deepbind.c loads by
 * the run path. */
HAK_API void *dlopen(const char *file, int mode)
{
    void *(*next)(const char *, int);
    *(void **)(void *)&next = dlsym(RTLD_NEXT, "dlopen");
    return next == NULL ? NULL : next(file, mode & ~RTLD_DEEPBIND);
}

/* Other namespaces have a C library of their own, and no HAKMEM. */
HAK_API void *dlmopen(Lmid_t space, const char *file, int mode)
{
    void *(*next)(Lmid_t, const char *, int);
    *(void **)(void *)&next = dlsym(RTLD_NEXT, "dlmopen");
    return next == NULL ? NULL
                        : next(space, file, space == LM_ID_BASE ? mode & ~RTLD_DEEPBIND : mode);
}

#endif
#endif
