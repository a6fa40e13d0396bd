// A program that is linked with another allocator, and runs with LD_PRELOAD=libhakmem.so: a nothrow
// operator new that fails hands out no block of that one.
#include "test.h"

#include <new>

namespace
{

int handler_calls;

void throws_standard()
{
    handler_calls++;
    throw std::bad_alloc();
}

void every_form()
{
    static volatile size_t far_too_large = static_cast<size_t>(PTRDIFF_MAX) - 4096;
    const size_t size = far_too_large;
    const std::align_val_t alignment{128};
    CHECK(::operator new(size, std::nothrow) == nullptr);
    CHECK(::operator new[](size, std::nothrow) == nullptr);
    CHECK(::operator new(size, alignment, std::nothrow) == nullptr);
    CHECK(::operator new[](size, alignment, std::nothrow) == nullptr);
}

} // namespace

int main()
{
    test_require_preload();
    every_form();
    std::set_new_handler(throws_standard);
    every_form();
    CHECKF(handler_calls == 4, " (%d calls)", handler_calls);
    puts("libc_cxx_other: ok");
    return 0;
}
