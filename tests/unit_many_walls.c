/*
 * With hardening a heap of any size leaves the program mappings: of the 65,530 that a process may
 * have, superslabs and metadata take so many between walls, and hardly any beyond.
 */
#include "test.h"

#include "options.h"
#include "pool_part.h"

enum { SUPERSLABS = 24000, MAPPINGS_MOST = 30000 };

static size_t mappings(void)
{
    static char text[1 << 16];
    size_t count = 0;
    ssize_t got;
    int fd = open("/proc/self/maps", O_RDONLY);
    CHECK(fd >= 0);
    while ((got = read(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            count += text[i] == '\n';
    }
    CHECK(got == 0 && close(fd) == 0);
    return count;
}

int main(void)
{
    static hk_superslab_t *superslabs[SUPERSLABS];
    if (TEST_SANITIZED) {
        puts("skipped: a sanitizer takes mappings of its own");
        return 77;
    }
    hk_options.harden = 1;
    for (size_t i = 0; i < SUPERSLABS; i++) {
        superslabs[i] = hk_superslab_allocate(hk_pool_parts, HK_UNIT_BYTES, HK_ORIGIN_ANY);
        CHECKF(superslabs[i] != NULL, " (%zu)", i);
    }
    CHECK(superslabs[0]->walled && !superslabs[SUPERSLABS - 1]->walled);
    CHECKF(mappings() < MAPPINGS_MOST, " (%zu)", mappings());
    for (size_t i = 0; i < SUPERSLABS; i++)
        hk_superslab_free(superslabs[i]);
    hk_superslab_t *superslab = hk_superslab_allocate(hk_pool_parts, HK_UNIT_BYTES, HK_ORIGIN_ANY);
    CHECK(superslab != NULL && superslab->walled);
    hk_superslab_free(superslab);
    return 0;
}
