// A program that is linked with another allocator, and runs with LD_PRELOAD=libhakmem.so: a nothrow
// operator new that fails hands out no block of that one.
#include "cxx_checks.h"

namespace
{

constexpr size_t FAR_TOO_LARGE = static_cast<size_t>(PTRDIFF_MAX) - 4096;
int handler_calls;

void throws_standard()
{
    handler_calls++;
    throw std::bad_alloc();
}

} // namespace

int main()
{
    test_require_preload();
    check_nothrow_forms_fail(FAR_TOO_LARGE);
    std::set_new_handler(throws_standard);
    check_nothrow_forms_fail(FAR_TOO_LARGE);
    CHECKF(handler_calls == 4, " (%d calls)", handler_calls);
    puts("libc_cxx_other: ok");
    return 0;
}
