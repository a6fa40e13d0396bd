// A program that has the four basic operators of its own, and leaves the other forms as they are:
// these have to call its own; run with LD_PRELOAD=libhakmem.so.
#include "cxx_checks.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsized-deallocation"
#endif

namespace
{

constexpr size_t BEFORE = 64;
constexpr size_t LARGEST = 1 * MIB;
size_t live;
size_t aligned_live;

} // namespace

// A block begins where HAKMEM's free would not take it.
void *operator new(size_t size)
{
    char *memory = size <= LARGEST ? static_cast<char *>(std::malloc(BEFORE + size)) : nullptr;
    if (memory == nullptr)
        throw std::bad_alloc();
    live++;
    return memory + BEFORE;
}

void operator delete(void *block) noexcept
{
    if (block != nullptr) {
        live--;
        std::free(static_cast<char *>(block) - BEFORE);
    }
}

void *operator new(size_t size, std::align_val_t alignment)
{
    size_t before = static_cast<size_t>(alignment);
    void *memory = size <= LARGEST ? aligned_alloc(before, before + size) : nullptr;
    if (memory == nullptr)
        throw std::bad_alloc();
    aligned_live++;
    return static_cast<char *>(memory) + before;
}

void operator delete(void *block, std::align_val_t alignment) noexcept
{
    if (block != nullptr) {
        aligned_live--;
        std::free(static_cast<char *>(block) - static_cast<size_t>(alignment));
    }
}

namespace
{

template <typename Delete>
void check(void *block, size_t size, const size_t &count, Delete give_back)
{
    CHECK(block != nullptr);
    CHECKF(live + aligned_live == 1 && count == 1, " (size %zu)", size);
    test_fill(block, size, size);
    give_back(block);
    CHECKF(count == 0, " (size %zu)", size);
}

void every_form(size_t size)
{
    auto plain = [](void *block) { ::operator delete(block); };
    auto array = [](void *block) { ::operator delete[](block); };
    check(::operator new(size), size, live, plain);
    check(::operator new[](size), size, live, plain);
    check(::operator new(size, std::nothrow), size, live, plain);
    check(::operator new[](size, std::nothrow), size, live, array);
    check(::operator new(size), size, live, [=](void *b) { ::operator delete(b, size); });
    check(::operator new(size), size, live, [](void *b) { ::operator delete(b, std::nothrow); });
    check(::operator new[](size), size, live, array);
    check(::operator new[](size), size, live, [=](void *b) { ::operator delete[](b, size); });
    check(::operator new[](size), size, live,
          [](void *b) { ::operator delete[](b, std::nothrow); });
}

void every_aligned_form(size_t size, std::align_val_t alignment)
{
    auto plain = [=](void *block) { ::operator delete(block, alignment); };
    auto array = [=](void *block) { ::operator delete[](block, alignment); };
    check(::operator new(size, alignment), size, aligned_live, plain);
    check(::operator new[](size, alignment), size, aligned_live, plain);
    check(::operator new(size, alignment, std::nothrow), size, aligned_live, plain);
    check(::operator new[](size, alignment, std::nothrow), size, aligned_live, array);
    check(::operator new(size, alignment), size, aligned_live,
          [=](void *b) { ::operator delete(b, size, alignment); });
    check(::operator new(size, alignment), size, aligned_live,
          [=](void *b) { ::operator delete(b, alignment, std::nothrow); });
    check(::operator new[](size, alignment), size, aligned_live, array);
    check(::operator new[](size, alignment), size, aligned_live,
          [=](void *b) { ::operator delete[](b, size, alignment); });
    check(::operator new[](size, alignment), size, aligned_live,
          [=](void *b) { ::operator delete[](b, alignment, std::nothrow); });
}

} // namespace

int main()
{
    test_require_preload();
    for (size_t size = 0; size < LARGEST; size = size * 2 + 1) {
        every_form(size);
        for (size_t alignment = 16; alignment <= 4096; alignment *= 4)
            every_aligned_form(size, std::align_val_t{alignment});
    }
    check_nothrow_forms_fail(2 * LARGEST); // they catch what the program's own operators throw
    CHECK(test_preloaded_check() == 0);
    puts("libc_cxx_own: ok");
    return 0;
}
