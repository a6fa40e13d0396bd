// The C++ operators new and delete in all their forms; run with LD_PRELOAD=libhakmem.so.
#include "cxx_checks.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace
{

template <typename T> T hidden(T value)
{
    static volatile T slot;
    slot = value;
    return slot;
}

void take(void *block, size_t size, size_t alignment)
{
    CHECKF(block != nullptr, " (size %zu, alignment %zu)", size, alignment);
    CHECKF(test_is_aligned(block, alignment), " (block %p, alignment %zu)", block, alignment);
    test_fill(block, size, size);
    CHECK_PATTERN(block, size, size, size);
}

void every_form(size_t size)
{
    size_t natural = size >= 16 ? 16 : 8;
    void *block = ::operator new(size);
    take(block, size, natural);
    ::operator delete(block);
    block = ::operator new(size);
    take(block, size, natural);
    ::operator delete(block, size);
    block = ::operator new[](size);
    take(block, size, natural);
    ::operator delete[](block);
    block = ::operator new[](size);
    take(block, size, natural);
    ::operator delete[](block, size);
    block = ::operator new(size, std::nothrow);
    take(block, size, natural);
    ::operator delete(block, std::nothrow);
    block = ::operator new[](size, std::nothrow);
    take(block, size, natural);
    ::operator delete[](block, std::nothrow);
    for (size_t power = 1; power <= 1 * MIB; power *= 4) {
        std::align_val_t alignment{power};
        block = ::operator new(size, alignment);
        take(block, size, power);
        ::operator delete(block, alignment);
        block = ::operator new(size, alignment);
        take(block, size, power);
        ::operator delete(block, size, alignment);
        block = ::operator new[](size, alignment);
        take(block, size, power);
        ::operator delete[](block, alignment);
        block = ::operator new[](size, alignment);
        take(block, size, power);
        ::operator delete[](block, size, alignment);
        block = ::operator new(size, alignment, std::nothrow);
        take(block, size, power);
        ::operator delete(block, alignment, std::nothrow);
        block = ::operator new[](size, alignment, std::nothrow);
        take(block, size, power);
        ::operator delete[](block, alignment, std::nothrow);
    }
}

// The families mix: what new gave may go to free, and the other way round, as with libstdc++'s own
// operators.
void mixed()
{
    for (size_t size = 0; size < 300000; size = size * 3 + 1) {
        void *volatile block = ::operator new(size);
        std::free(block);
        block = std::malloc(size);
        ::operator delete(block);
    }
    void *volatile none = nullptr;
    ::operator delete(none);
    ::operator delete[](none);
    ::operator delete (none, size_t{16});
    ::operator delete (none, std::align_val_t{64});
    ::operator delete (none, size_t{16}, std::align_val_t{64});
    ::operator delete(none, std::nothrow);
    ::operator delete[](none, std::align_val_t{64}, std::nothrow);
}

void too_big()
{
    CHECK(std::get_new_handler() == nullptr);
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 4096, static_cast<size_t>(PTRDIFF_MAX) + 1,
                            static_cast<size_t>(PTRDIFF_MAX)};
    for (size_t plain : sizes) {
        size_t size = hidden(plain);
        CHECK(throws_bad_alloc([=] { return ::operator new(size); }));
        CHECK(throws_bad_alloc([=] { return ::operator new[](size); }));
        CHECK(throws_bad_alloc([=] { return ::operator new (size, std::align_val_t{64}); }));
        CHECK(throws_bad_alloc([=] { return ::operator new[](size, std::align_val_t{4096}); }));
        CHECK(::operator new(size, std::nothrow) == nullptr);
        CHECK(::operator new[](size, std::nothrow) == nullptr);
        CHECK(::operator new (size, std::align_val_t{64}, std::nothrow) == nullptr);
        CHECK(::operator new[](size, std::align_val_t{64}, std::nothrow) == nullptr);
    }
    size_t count = hidden(SIZE_MAX / 8);
    CHECK(throws_bad_alloc([=] { return new uint64_t[count]; }));
}

std::atomic<int> handler_calls;

void third_call_gives_up()
{
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

struct Stopped {
};

void throws_own()
{
    handler_calls++;
    throw Stopped{};
}

void throws_standard()
{
    handler_calls++;
    throw std::bad_alloc();
}

// The loop of [new.delete.single]: the handler is called until there is none, or until it throws.
void handlers()
{
    size_t size = hidden(static_cast<size_t>(PTRDIFF_MAX) - 4096);
    for (int form = 0; form < 4; form++) {
        handler_calls = 0;
        std::set_new_handler(third_call_gives_up);
        CHECK(throws_bad_alloc([=]() -> void * {
            switch (form) {
            case 0: return ::operator new(size);
            case 1: return ::operator new[](size);
            case 2: return ::operator new (size, std::align_val_t{128});
            default: return ::operator new[](size, std::align_val_t{128});
            }
        }));
        CHECKF(handler_calls == 3, " (form %d: %d calls)", form, handler_calls.load());
        handler_calls = 0;
        std::set_new_handler(third_call_gives_up);
        void *block = form == 0   ? ::operator new(size, std::nothrow)
                      : form == 1 ? ::operator new[](size, std::nothrow)
                      : form == 2 ? ::operator new (size, std::align_val_t{128}, std::nothrow)
                                  : ::operator new[](size, std::align_val_t{128}, std::nothrow);
        CHECK(block == nullptr);
        CHECKF(handler_calls == 3, " (nothrow form %d: %d calls)", form, handler_calls.load());

        handler_calls = 0;
        std::set_new_handler(throws_own);
        bool stopped = false;
        try {
            block = form % 2 == 0 ? ::operator new(size)
                                  : ::operator new[](size, std::align_val_t{128});
            CHECK(block == nullptr);
        } catch (const Stopped &) {
            stopped = true;
        }
        CHECK(stopped && handler_calls == 1);
        std::set_new_handler(nullptr);
    }
    // malloc does not call the handler.
    handler_calls = 0;
    std::set_new_handler(throws_own);
    void *(*volatile plain_malloc)(size_t) = std::malloc;
    CHECK(plain_malloc(size) == nullptr);
    CHECK(handler_calls == 0);
    std::set_new_handler(nullptr);
}

// The nothrow forms return null also where the handler leaves by throwing bad_alloc.
void nothrow_handler_throws()
{
    size_t size = hidden(static_cast<size_t>(PTRDIFF_MAX) - 4096);
    handler_calls = 0;
    std::set_new_handler(throws_standard);
    CHECK(::operator new(size, std::nothrow) == nullptr);
    CHECK(::operator new[](size, std::nothrow) == nullptr);
    CHECK(::operator new (size, std::align_val_t{256}, std::nothrow) == nullptr);
    CHECK(::operator new[](size, std::align_val_t{256}, std::nothrow) == nullptr);
    CHECK(handler_calls == 4);
    std::set_new_handler(nullptr);
}

struct alignas(256) Wide {
    unsigned char bytes[256];
};

thread_local std::vector<std::string> thread_strings;

// Containers, over-aligned objects, and thread_local objects that are destroyed as threads end.
void containers()
{
    std::map<std::string, std::vector<int>> table;
    for (int i = 0; i < 20000; i++)
        table["key " + std::to_string(i % 3000)].push_back(i);
    CHECK(table.size() == 3000);
    std::vector<std::unique_ptr<Wide>> wides;
    for (int i = 0; i < 2000; i++) {
        wides.push_back(std::make_unique<Wide>());
        CHECK(test_is_aligned(wides.back().get(), 256));
    }
    std::vector<std::thread> threads;
    for (int t = 0; t < 50; t++) {
        threads.emplace_back([t] {
            for (int i = 0; i < 500; i++)
                thread_strings.emplace_back(static_cast<size_t>(t * 10 + i), 'x');
        });
        if (threads.size() == 5) {
            for (std::thread &thread : threads)
                thread.join();
            threads.clear();
        }
    }
    thread_strings.emplace_back(10000, 'y');
}

void origins()
{
    const char *any = getenv("HAKMEM_TEST_ANY");
    if (any != nullptr && any[0] == '1')
        return;
    void *(*plain)(size_t) = &::operator new;
    Dl_info info;
    CHECK(dladdr(reinterpret_cast<void *>(plain), &info) != 0);
    CHECKF(strstr(info.dli_fname, "libhakmem") != nullptr, " (operator new is from '%s')",
           info.dli_fname);
}

} // namespace

int main()
{
    test_require_preload();
    origins();
    for (size_t size = 0; size < 3000; size += size < 64 ? 1 : 37)
        every_form(size);
    for (size_t size = 3000; size < 5 * MIB; size = size * 2 + 7)
        every_form(size);
    mixed();
    too_big();
    handlers();
    containers();
    CHECK(test_preloaded_check() == 0);
    nothrow_handler_throws();
    puts("libc_cxx: ok");
    return 0;
}
