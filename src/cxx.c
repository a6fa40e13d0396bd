/*
 * cxx: C++'s operator new, by its mangled names, so that no C++ library is needed.
 * Compiles to nothing with HK_NO_OVERRIDE.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hakmem/hakmem.h>

#include "front.h"
#include "log.h"

#ifndef HK_NO_OVERRIDE

/* No C header declares these. */
void *_Znwm(size_t size);
void *_Znam(size_t size);
void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
void *_ZnamRKSt9nothrow_t(size_t size, const void *tag);
void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
void *_ZnamSt11align_val_t(size_t size, size_t alignment);
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag);
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag);

/* ---- The C++ runtime ---- */

typedef void (*new_handler_t)(void);

/* A form without an alignment does not read it, and one that is not a nothrow form no tag. */
typedef void *(*new_t)(size_t size, size_t alignment, const void *tag);

/* Absent from fully static programs. */
#pragma weak dladdr
#pragma weak dlclose
#pragma weak dlsym

/* Functions of the C++ runtime, if the program has had one from its start.  A C program that loads
 * C++ code later has none here. */
__attribute__((weak)) new_handler_t _ZSt15get_new_handlerv(void);
__attribute__((weak, noreturn)) void _ZSt17__throw_bad_allocv(void);

/* What has the name in the module that the code is of, or else in those which that one needs; NULL
 * if nothing has, or if the module is HAKMEM's own. */
static HK_COLD void *find_from(const void *code, const char *name)
{
    Dl_info module, own;
    if (dladdr == NULL || dlclose == NULL || dlsym == NULL || dladdr(code, &module) == 0 ||
        dladdr((const void *)find_from, &own) == 0 || module.dli_fbase == own.dli_fbase) {
        return NULL;
    }
    void *(*open)(const char *, int); /* called by its name, it is a warning in static links */
    *(void **)(void *)&open = dlsym(RTLD_NEXT, "dlopen");
    void *handle = open != NULL ? open(module.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    if (handle == NULL) {
        return NULL;
    }
    void *found = dlsym(handle, name);
    (void)dlclose(handle); /* the module stays, for code of it waits for this call */
    return found;
}

/* The runtime's own form of operator new, which comes back to malloc or to another form; NULL if
 * there is none.  Other allocators have these forms too, and would hand out blocks of theirs, but
 * only the runtime has get_new_handler. */
static HK_COLD new_t runtime_new(const char *form, const void *caller)
{
    new_t found = NULL;
    void *runtime = _ZSt15get_new_handlerv != NULL ? (void *)_ZSt15get_new_handlerv
                                                   : find_from(caller, "_ZSt15get_new_handlerv");
    if (runtime != NULL) {
        *(void **)(void *)&found = find_from(runtime, form);
    }
    return found;
}

/* ---- Without memory ---- */

/* What operator new does when there is no memory: the program's handler may find some, or
 * throws. */
static HK_COLD void *new_by_handler(size_t alignment, size_t size)
{
    for (;;) {
        new_handler_t handler = _ZSt15get_new_handlerv != NULL ? _ZSt15get_new_handlerv() : NULL;
        if (handler == NULL) {
            return NULL;
        }
        handler();
        void *block = hak_aligned_alloc(alignment, size);
        if (block != NULL) {
            return block;
        }
    }
}

/* Where the runtime is not known from the start, its own form does both. */
static HK_COLD void *new_or_throw(const char *form, size_t alignment, size_t size,
                                  const void *caller)
{
    void *block = new_by_handler(alignment, size);
    if (block != NULL) {
        return block;
    }
    if (_ZSt17__throw_bad_allocv != NULL) {
        _ZSt17__throw_bad_allocv();
    }
    new_t next = runtime_new(form, caller);
    if (next == NULL) {
        hk_log_fatal("out of memory: operator new", NULL, "and no C++ runtime to throw");
    }
    return next(size, alignment, NULL);
}

/* A nothrow form must not let an exception of the handler out, and C cannot catch one: the runtime's
 * own form, which calls our throwing one and catches, does that. */
static HK_COLD void *new_or_null(const char *form, size_t alignment, size_t size,
                                 const void *caller)
{
    if (_ZSt15get_new_handlerv != NULL && _ZSt15get_new_handlerv() == NULL) {
        return NULL;
    }
    new_t next = runtime_new(form, caller);
    return next != NULL ? next(size, alignment, NULL) : new_by_handler(alignment, size);
}

/* ---- operator new ---- */

/* The code that asked for memory. */
#define HK_CALLER __builtin_return_address(0)

HK_INLINE void *new_plain(size_t size, const void *caller)
{
    void *block = hak_malloc(size);
    return HK_LIKELY(block != NULL) ? block : new_or_throw("_Znwm", 1, size, caller);
}

HK_INLINE void *new_aligned(size_t size, size_t alignment, const void *caller)
{
    void *block = hak_aligned_alloc(alignment, size);
    return HK_LIKELY(block != NULL) ? block
                                    : new_or_throw("_ZnwmSt11align_val_t", alignment, size, caller);
}

HK_INLINE void *new_nothrow(size_t size, const void *caller)
{
    void *block = hak_malloc(size);
    return HK_LIKELY(block != NULL) ? block : new_or_null("_ZnwmRKSt9nothrow_t", 1, size, caller);
}

HK_INLINE void *new_nothrow_aligned(size_t size, size_t alignment, const void *caller)
{
    void *block = hak_aligned_alloc(alignment, size);
    return HK_LIKELY(block != NULL)
               ? block
               : new_or_null("_ZnwmSt11align_val_tRKSt9nothrow_t", alignment, size, caller);
}

HAK_API void *_Znwm(size_t size)
{
    return new_plain(size, HK_CALLER);
}
HAK_API void *_Znam(size_t size)
{
    return new_plain(size, HK_CALLER);
}
HAK_API void *_ZnwmSt11align_val_t(size_t size, size_t alignment)
{
    return new_aligned(size, alignment, HK_CALLER);
}
HAK_API void *_ZnamSt11align_val_t(size_t size, size_t alignment)
{
    return new_aligned(size, alignment, HK_CALLER);
}
HAK_API void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag)
{
    (void)tag;
    return new_nothrow(size, HK_CALLER);
}
HAK_API void *_ZnamRKSt9nothrow_t(size_t size, const void *tag)
{
    (void)tag;
    return new_nothrow(size, HK_CALLER);
}
HAK_API void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag)
{
    (void)tag;
    return new_nothrow_aligned(size, alignment, HK_CALLER);
}
HAK_API void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag)
{
    (void)tag;
    return new_nothrow_aligned(size, alignment, HK_CALLER);
}
#endif
