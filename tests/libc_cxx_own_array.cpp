// A program that has new[] and delete[] of its own, and leaves the other forms as they are; run
// with LD_PRELOAD=libhakmem.so.
#include "cxx_checks.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsized-deallocation"
#endif

namespace
{

constexpr size_t BEFORE = 64;
size_t live;

} // namespace

// A block begins where HAKMEM's free would not take it.
void *operator new[](size_t size)
{
    void *memory = std::malloc(BEFORE + size);
    if (memory == nullptr)
        throw std::bad_alloc();
    live++;
    return static_cast<char *>(memory) + BEFORE;
}

void operator delete[](void *block) noexcept
{
    if (block != nullptr) {
        live--;
        std::free(static_cast<char *>(block) - BEFORE);
    }
}

int main()
{
    test_require_preload();
    for (size_t size = 0; size < 1 * MIB; size = size * 2 + 1) {
        void *block = ::operator new[](size, std::nothrow);
        CHECK(block != nullptr && live == 1);
        test_fill(block, size, size);
        ::operator delete[](block, size);
        CHECK(live == 0);
        block = ::operator new[](size);
        CHECK(live == 1);
        ::operator delete[](block, std::nothrow);
        CHECK(live == 0);
        block = ::operator new(size);
        ::operator delete(block, size);
        block = ::operator new(size, std::nothrow);
        ::operator delete(block, std::nothrow);
        CHECK(block != nullptr && live == 0);
    }
    static volatile size_t far_too_large = static_cast<size_t>(PTRDIFF_MAX) - 4096;
    CHECK(::operator new[](far_too_large, std::nothrow) == nullptr);
    CHECK(test_preloaded_check() == 0);
    puts("libc_cxx_own_array: ok");
    return 0;
}
