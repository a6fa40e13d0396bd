// What libc_cxx_plugin.c loads: C++ code in a program that is C, where operator new has to fail as
// the standard wants.
#include "cxx_checks.h"

#include <string>

extern "C" void plugin_run(void);

namespace
{

int handler_calls;

void second_call_gives_up()
{
    if (++handler_calls == 2)
        std::set_new_handler(nullptr);
}

void throws_standard()
{
    handler_calls++;
    throw std::bad_alloc();
}

template <typename Call> void check_throwing(Call call)
{
    CHECK(throws_bad_alloc(call));
    handler_calls = 0;
    std::set_new_handler(second_call_gives_up);
    CHECK(throws_bad_alloc(call));
    CHECKF(handler_calls == 2, " (%d calls)", handler_calls);
}

template <typename Call> void check_nothrow(Call call)
{
    CHECK(call() == nullptr);
    for (std::new_handler handler : {second_call_gives_up, throws_standard}) {
        handler_calls = 0;
        std::set_new_handler(handler);
        CHECK(call() == nullptr);
        CHECKF(handler_calls == (handler == throws_standard ? 1 : 2), " (%d calls)", handler_calls);
        std::set_new_handler(nullptr);
    }
}

} // namespace

void plugin_run(void)
{
    static volatile size_t far_too_large = static_cast<size_t>(PTRDIFF_MAX) - 4096;
    const size_t size = far_too_large;
    const std::align_val_t alignment{128};
    check_throwing([=] { return ::operator new(size); });
    check_throwing([=] { return ::operator new[](size); });
    check_throwing([=] { return ::operator new(size, alignment); });
    check_throwing([=] { return ::operator new[](size, alignment); });
    check_nothrow([=] { return ::operator new(size, std::nothrow); });
    check_nothrow([=] { return ::operator new[](size, std::nothrow); });
    check_nothrow([=] { return ::operator new(size, alignment, std::nothrow); });
    check_nothrow([=] { return ::operator new[](size, alignment, std::nothrow); });
    std::string text; // it asks from within the runtime
    CHECK(throws_bad_alloc([&]() -> void * {
        text.reserve(size / 2);
        return &text[0];
    }));
}
