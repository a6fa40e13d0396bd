// What libc_cxx_plugin.c loads: C++ code that has the C++ runtime linked in, and HAKMEM for a
// library.  So its operators are HAKMEM's, and the runtime in it has none.
#include "cxx_checks.h"

extern "C" void plugin_run(void);

void plugin_run(void)
{
    std::set_new_handler(nullptr);
    check_nothrow_forms_fail(static_cast<size_t>(PTRDIFF_MAX) - 4096);
}
