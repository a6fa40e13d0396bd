/*
 * What other libraries' constructors did before HAKMEM's holds afterwards: their blocks may be
 * freed with the size that they were asked for, whatever the options said meanwhile; and the
 * children that they forked while other threads allocated came to an end.
 */
#include "test.h"

#include <dlfcn.h>

#include "early.h"

int main(void)
{
    void (*free_sized)(void *, size_t) = dlsym(RTLD_DEFAULT, "free_sized");
    void (*free_aligned_sized)(void *, size_t, size_t) = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    CHECK(free_sized != NULL && free_aligned_sized != NULL);
    CHECKF(early_forked > 0 && early_ended == early_forked, " (%d of %d)", early_ended,
           early_forked);
    for (int i = 0; i < EARLY_BLOCKS; i++)
        memset(early_blocks[i], i, EARLY_BYTES);
    free_sized(early_blocks[0], EARLY_BYTES);
    free_aligned_sized(early_blocks[1], 16, EARLY_BYTES);
    CHECK((early_blocks[2] = realloc(early_blocks[2], 2 * EARLY_BYTES)) != NULL);
    free_sized(early_blocks[2], 2 * EARLY_BYTES);
    CHECK((early_blocks[3] = realloc(early_blocks[3], EARLY_BYTES / 2)) != NULL);
    free_sized(early_blocks[3], EARLY_BYTES / 2);
    return 0;
}
