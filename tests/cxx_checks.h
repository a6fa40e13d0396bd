/*
 * What the tests of the C++ operators share: the forms that clang declares only when asked to, and
 * failing calls of all forms.
 */
#ifndef HAKMEM_CXX_CHECKS_H
#define HAKMEM_CXX_CHECKS_H

#include "test.h"

#include <new>

#ifndef __cpp_sized_deallocation
void operator delete(void *block, size_t size) noexcept;
void operator delete[](void *block, size_t size) noexcept;
void operator delete(void *block, size_t size, std::align_val_t alignment) noexcept;
void operator delete[](void *block, size_t size, std::align_val_t alignment) noexcept;
#endif

template <typename Call> inline bool throws_bad_alloc(Call call)
{
    try {
        void *block = call();
        CHECKF(block == nullptr, " (got %p)", block);
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

/* The compiler does not see the size. */
inline void check_nothrow_forms_fail(size_t too_large)
{
    static volatile size_t hidden;
    hidden = too_large;
    const size_t size = hidden;
    const std::align_val_t alignment{128};
    CHECK(::operator new(size, std::nothrow) == nullptr);
    CHECK(::operator new[](size, std::nothrow) == nullptr);
    CHECK(::operator new(size, alignment, std::nothrow) == nullptr);
    CHECK(::operator new[](size, alignment, std::nothrow) == nullptr);
}

#endif
