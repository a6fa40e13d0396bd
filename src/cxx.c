/*
 * cxx: C++'s operators new and delete, by their mangled names, so that no C++ library is needed.
 *
 * A program may have operators of its own in the place of some of them, and then the others have to
 * call these.  So all are weak, for the compiler may not then take a call by name for a call of the
 * function in this file; nor may the linker, which CMakeLists.txt tells.
 *
 * Compiles to nothing with HK_NO_OVERRIDE.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hakmem/hakmem.h>

#include "front.h"
#include "log.h"

#ifndef HK_NO_OVERRIDE

#define HK_OPERATOR HAK_API __attribute__((weak))

/* No C header declares these. */
HK_OPERATOR void *_Znwm(size_t size);
HK_OPERATOR void *_Znam(size_t size);
HK_OPERATOR void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag);
HK_OPERATOR void *_ZnamRKSt9nothrow_t(size_t size, const void *tag);
HK_OPERATOR void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
HK_OPERATOR void *_ZnamSt11align_val_t(size_t size, size_t alignment);
HK_OPERATOR void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment,
                                                     const void *tag);
HK_OPERATOR void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment,
                                                     const void *tag);
HK_OPERATOR void _ZdlPv(void *block);
HK_OPERATOR void _ZdaPv(void *block);
HK_OPERATOR void _ZdlPvm(void *block, size_t size);
HK_OPERATOR void _ZdaPvm(void *block, size_t size);
HK_OPERATOR void _ZdlPvRKSt9nothrow_t(void *block, const void *tag);
HK_OPERATOR void _ZdaPvRKSt9nothrow_t(void *block, const void *tag);
HK_OPERATOR void _ZdlPvSt11align_val_t(void *block, size_t alignment);
HK_OPERATOR void _ZdaPvSt11align_val_t(void *block, size_t alignment);
HK_OPERATOR void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment);
HK_OPERATOR void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment);
HK_OPERATOR void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                     const void *tag);
HK_OPERATOR void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment,
                                                     const void *tag);

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

static HK_COLD bool are_of_one_module(const void *one, const void *other)
{
    Dl_info first, second;
    return dladdr(one, &first) != 0 && dladdr(other, &second) != 0 &&
           first.dli_fbase == second.dli_fbase;
}

/* The runtime's own form of operator new, which comes back to malloc or to another form; NULL if
 * there is none.  The runtime is the module that has get_new_handler.  Other allocators have these
 * forms too, and would hand out blocks of theirs, and HAKMEM's would come back here: so the form
 * has to be of that module itself. */
static HK_COLD new_t runtime_new(const char *form, const void *caller)
{
    void *runtime = _ZSt15get_new_handlerv != NULL ? (void *)_ZSt15get_new_handlerv
                                                   : find_from(caller, "_ZSt15get_new_handlerv");
    void *found = runtime != NULL ? find_from(runtime, form) : NULL;
    if (found == NULL || !are_of_one_module(found, runtime)) {
        return NULL;
    }
    new_t next;
    *(void **)(void *)&next = found;
    return next;
}

/* The nothrow forms, and what they are called. */
typedef enum nothrow { OBJECT, ARRAY, OBJECT_ALIGNED, ARRAY_ALIGNED, NOTHROW_FORMS } nothrow_t;

static const char *const nothrow_names[NOTHROW_FORMS] = {
    "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t"};

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

/* A nothrow form must not let an exception of the handler out, and C cannot catch one: the
 * runtime's own form, which calls our throwing one and catches, does that. */
static HK_COLD void *new_or_null(nothrow_t form, size_t alignment, size_t size, const void *caller)
{
    if (_ZSt15get_new_handlerv != NULL && _ZSt15get_new_handlerv() == NULL) {
        return NULL;
    }
    new_t next = runtime_new(nothrow_names[form], caller);
    return next != NULL ? next(size, alignment, NULL) : new_by_handler(alignment, size);
}

/* ---- operator new ---- */

/* memcheck tells by the address whether what was allocated by the one is freed by the other. */
#if defined(__clang__)
#define HK_OWN_ADDRESS
#else
#define HK_OWN_ADDRESS __attribute__((no_icf))
#endif

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

HK_OWN_ADDRESS static void *new_object(size_t size)
{
    return new_plain(size, HK_CALLER);
}

HK_OWN_ADDRESS static void *new_array(size_t size)
{
    return HK_LIKELY(_Znwm == new_object) ? new_plain(size, HK_CALLER) : _Znwm(size);
}

HK_OWN_ADDRESS static void *new_object_aligned(size_t size, size_t alignment)
{
    return new_aligned(size, alignment, HK_CALLER);
}

HK_OWN_ADDRESS static void *new_array_aligned(size_t size, size_t alignment)
{
    return HK_LIKELY(_ZnwmSt11align_val_t == new_object_aligned)
               ? new_aligned(size, alignment, HK_CALLER)
               : _ZnwmSt11align_val_t(size, alignment);
}

HK_ALIAS(new_object) void *_Znwm(size_t size);
HK_ALIAS(new_array) void *_Znam(size_t size);
HK_ALIAS(new_object_aligned) void *_ZnwmSt11align_val_t(size_t size, size_t alignment);
HK_ALIAS(new_array_aligned) void *_ZnamSt11align_val_t(size_t size, size_t alignment);

/* ---- operator new, nothrow ---- */

HK_INLINE void *new_nothrow(size_t size, const void *caller)
{
    void *block = hak_malloc(size);
    return HK_LIKELY(block != NULL) ? block : new_or_null(OBJECT, 1, size, caller);
}

HK_INLINE void *new_nothrow_aligned(size_t size, size_t alignment, const void *caller)
{
    void *block = hak_aligned_alloc(alignment, size);
    return HK_LIKELY(block != NULL) ? block : new_or_null(OBJECT_ALIGNED, alignment, size, caller);
}

/* What the program has in the place of ours may throw; the runtime's nothrow forms call that and
 * catch.  Here are those of a runtime that is there from the start, in a program with forms of its
 * own: looking for them takes microseconds and the loader's lock.  atomic: threads may be there
 * before. */
static _Atomic(new_t) nothrow_forms[NOTHROW_FORMS];

__attribute__((constructor)) static void find_nothrow_forms(void)
{
    bool all_ours = _Znwm == new_object && _Znam == new_array &&
                    _ZnwmSt11align_val_t == new_object_aligned &&
                    _ZnamSt11align_val_t == new_array_aligned;
    for (int form = 0; !all_ours && _ZSt15get_new_handlerv != NULL && form < NOTHROW_FORMS;
         form++) {
        hk_store_relaxed(&nothrow_forms[form], runtime_new(nothrow_names[form], NULL));
    }
}

static new_t nothrow_form(nothrow_t form, const void *caller)
{
    new_t found = hk_load_relaxed(&nothrow_forms[form]); /* relaxed: code that is there for good */
    return found != NULL ? found : runtime_new(nothrow_names[form], caller);
}

HK_OPERATOR void *_ZnwmRKSt9nothrow_t(size_t size, const void *tag)
{
    if (HK_LIKELY(_Znwm == new_object)) {
        return new_nothrow(size, HK_CALLER);
    }
    new_t next = nothrow_form(OBJECT, HK_CALLER);
    return next != NULL ? next(size, 1, tag) : _Znwm(size);
}

HK_OPERATOR void *_ZnamRKSt9nothrow_t(size_t size, const void *tag)
{
    if (HK_LIKELY(_Znam == new_array && _Znwm == new_object)) {
        return new_nothrow(size, HK_CALLER);
    }
    new_t next = nothrow_form(ARRAY, HK_CALLER);
    return next != NULL ? next(size, 1, tag) : _Znam(size);
}

HK_OPERATOR void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag)
{
    if (HK_LIKELY(_ZnwmSt11align_val_t == new_object_aligned)) {
        return new_nothrow_aligned(size, alignment, HK_CALLER);
    }
    new_t next = nothrow_form(OBJECT_ALIGNED, HK_CALLER);
    return next != NULL ? next(size, alignment, tag) : _ZnwmSt11align_val_t(size, alignment);
}

HK_OPERATOR void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t alignment, const void *tag)
{
    if (HK_LIKELY(_ZnamSt11align_val_t == new_array_aligned &&
                  _ZnwmSt11align_val_t == new_object_aligned)) {
        return new_nothrow_aligned(size, alignment, HK_CALLER);
    }
    new_t next = nothrow_form(ARRAY_ALIGNED, HK_CALLER);
    return next != NULL ? next(size, alignment, tag) : _ZnamSt11align_val_t(size, alignment);
}

/* ---- operator delete ---- */

HK_OWN_ADDRESS HK_FAST static void delete_object(void *block)
{
    hk_front_take_back(block);
}

HK_OWN_ADDRESS static void delete_array(void *block)
{
    _ZdlPv(block);
}

HK_ALIAS(delete_object) void _ZdlPv(void *block);
HK_ALIAS(delete_array) void _ZdaPv(void *block);

/* From this size on a sized form has to look further: 0 until it is known that the program has no
 * operator delete of its own, and for good if it has.  Relaxed: who sees 0 looks. */
static _Atomic size_t look_from;

static HK_NOINLINE void delete_sized_slow(void *block, size_t size, void (*unsized)(void *))
{
    if (HK_UNLIKELY(hk_load_relaxed(&look_from) == 0)) {
        if (_ZdlPv != delete_object || _ZdaPv != delete_array) {
            unsized(block);
            return;
        }
        hk_store_relaxed(&look_from, HK_TABLE_MAX + 1);
    }
    hak_free_sized(block, size);
}

/* For nearly every block the near table has just the class that the size has, whoever owns the
 * block.  If it has not, the size is checked as free_sized does. */
HK_INLINE void delete_sized(void *block, size_t size, void (*unsized)(void *))
{
    if (HK_UNLIKELY(size >= hk_load_relaxed(&look_from) ||
                    !hk_path_is_of_class(block, hk_class_table[size]))) {
        delete_sized_slow(block, size, unsized);
    } else {
        hk_front_take_back(block);
    }
}

HK_OPERATOR HK_FAST void _ZdlPvm(void *block, size_t size)
{
    delete_sized(block, size, _ZdlPv);
}

HK_OPERATOR HK_FAST void _ZdaPvm(void *block, size_t size)
{
    delete_sized(block, size, _ZdaPv);
}

HK_OPERATOR void _ZdlPvRKSt9nothrow_t(void *block, const void *tag)
{
    (void)tag;
    _ZdlPv(block);
}

HK_OPERATOR void _ZdaPvRKSt9nothrow_t(void *block, const void *tag)
{
    (void)tag;
    _ZdaPv(block);
}

/* ---- operator delete, aligned ---- */

HK_OPERATOR HK_FAST void _ZdlPvSt11align_val_t(void *block, size_t alignment)
{
    (void)alignment;
    hk_front_take_back(block);
}

HK_OPERATOR void _ZdaPvSt11align_val_t(void *block, size_t alignment)
{
    _ZdlPvSt11align_val_t(block, alignment);
}

HK_OPERATOR void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
    (void)size;
    _ZdlPvSt11align_val_t(block, alignment);
}

HK_OPERATOR void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t alignment)
{
    (void)size;
    _ZdaPvSt11align_val_t(block, alignment);
}

HK_OPERATOR void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const void *tag)
{
    (void)tag;
    _ZdlPvSt11align_val_t(block, alignment);
}

HK_OPERATOR void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t alignment, const void *tag)
{
    (void)tag;
    _ZdaPvSt11align_val_t(block, alignment);
}
#endif
