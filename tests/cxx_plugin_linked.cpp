// What libc_cxx_plugin.c loads: C++ code that has the C++ runtime linked in, and HAKMEM for a
// library.  So its operators are HAKMEM's, and the runtime in it has none.
#include "test.h"

#include <new>

extern "C" void plugin_run(void);

void plugin_run(void)
{
    static volatile size_t far_too_large = static_cast<size_t>(PTRDIFF_MAX) - 4096;
    const std::align_val_t alignment{128};
    std::set_new_handler(nullptr);
    CHECK(::operator new(far_too_large, std::nothrow) == nullptr);
    CHECK(::operator new[](far_too_large, std::nothrow) == nullptr);
    CHECK(::operator new(far_too_large, alignment, std::nothrow) == nullptr);
    CHECK(::operator new[](far_too_large, alignment, std::nothrow) == nullptr);
}
