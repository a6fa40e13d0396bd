// A C++ program on an installed HAKMEM.
#include "consumer.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

int main()
{
    check_library();
    check_fork();

    auto numbers = std::make_unique<int[]>(1000);
    check_block(numbers.get(), 1000 * sizeof(int));
    std::vector<std::string> words;
    for (int i = 0; i < 1000; i++)
        words.push_back("a word that is too long to lie in the string itself " + std::to_string(i));
    CHECK(hak_usable_size(words[7].data()) > words[7].size());
    CHECK(hak_usable_size(words.data()) >= hak_good_size(words.capacity() * sizeof words[0]));
    try {
        words.at(words.size());
        CHECK(!"a word behind the last one");
    } catch (const std::out_of_range &) {
    }
    std::puts("consumer: ok");
}
