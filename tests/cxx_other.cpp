// What libc_cxx_other.cpp is linked with: another allocator, which has the nothrow forms, too.
#include <cstddef>
#include <new>

namespace
{

alignas(128) char memory[128];

} // namespace

void *operator new(std::size_t, const std::nothrow_t &) noexcept
{
    return memory;
}

void *operator new(std::size_t, std::align_val_t, const std::nothrow_t &) noexcept
{
    return memory;
}
