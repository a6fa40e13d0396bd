/*
 * The size classes, exhaustively: every size, every alignment, every offset.
 */
#include "test.h"

#include "sizeclass.h"

static uint32_t bytes_of(unsigned class_index)
{
    return hk_class_info[class_index].block_bytes;
}

static void check_classes(void)
{
    for (unsigned c = 0; c < HK_CLASS_COUNT; c++) {
        const hk_class_info_t *info = &hk_class_info[c];
        size_t slab_bytes = (size_t)info->units << HK_UNIT_SHIFT;
        CHECKF(c == 0 || info->block_bytes > bytes_of(c - 1), " (class %u)", c);
        CHECKF(info->block_bytes % 16 == 0, " (class %u)", c);
        CHECKF(info->units >= 1 && info->block_count >= 1, " (class %u)", c);
        CHECKF(info->block_count <= HK_SLAB_BLOCKS_MAX, " (class %u)", c);
        size_t used = (size_t)info->block_count * info->block_bytes;
        CHECKF(used <= slab_bytes, " (class %u)", c);
        /* Another block would fit only where the bitmap has no bit for it. */
        CHECKF(info->block_count == HK_SLAB_BLOCKS_MAX || slab_bytes - used < info->block_bytes,
               " (class %u)", c);
    }
    CHECK(bytes_of(0) == 16); /* a live bit's granule */
    CHECK(bytes_of(HK_TINY_CLASSES - 1) == 128);
    CHECK(bytes_of(HK_CLASS_COUNT - 1) == HK_SMALL_MAX);
}

static void check_sizes(void)
{
    unsigned expected = 0; /* the smallest class that holds the size */
    for (size_t size = 0; size <= HK_SMALL_MAX; size++) {
        while (bytes_of(expected) < size) {
            expected++;
        }
        unsigned found = hk_class_of(size);
        CHECKF(found == expected, " (size %zu: class %u, not %u)", size, found, expected);
        size_t waste = bytes_of(found) - size;
        CHECKF(size <= 128 || waste * 8 <= size, " (size %zu wastes %zu)", size, waste);
        CHECKF(size > 128 || waste < 16 || size == 0, " (size %zu wastes %zu)", size, waste);
        if (size > 128) {
            CHECKF(hk_class_compute(size) == found, " (size %zu)", size);
        }
    }
}

static void check_alignments(void)
{
    for (size_t alignment = 1; alignment <= HK_SMALL_MAX; alignment *= 2) {
        unsigned expected = 0;
        for (size_t size = 0; size <= HK_SMALL_MAX; size++) {
            while (bytes_of(expected) < size || bytes_of(expected) % alignment != 0) {
                expected++; /* 64 KiB is a class, so that this ends */
            }
            unsigned found = hk_class_of_aligned(size, alignment);
            CHECKF(found == expected, " (size %zu, alignment %zu: class %u, not %u)", size,
                   alignment, found, expected);
        }
    }
    static const size_t beyond[] = {HK_SMALL_MAX + 1, HK_SMALL_MAX * 2, SIZE_MAX / 2 + 1, SIZE_MAX};
    for (size_t i = 0; i < TEST_COUNT(beyond); i++) {
        CHECKF(hk_class_of_aligned(beyond[i], 1) == HK_CLASS_COUNT, " (size %zu)", beyond[i]);
        CHECKF(hk_class_of_aligned(beyond[i], 16) == HK_CLASS_COUNT, " (size %zu)", beyond[i]);
    }
    CHECK(hk_class_of_aligned(1, (size_t)HK_SMALL_MAX * 2) == HK_CLASS_COUNT);
    CHECK(hk_class_of_aligned(0, SIZE_MAX / 2 + 1) == HK_CLASS_COUNT);
}

static void check_reciprocals(void)
{
    for (unsigned c = 0; c < HK_CLASS_COUNT; c++) {
        uint32_t end = (uint32_t)hk_class_info[c].units << HK_UNIT_SHIFT;
        uint32_t index = 0;
        uint32_t next = bytes_of(c);
        for (uint32_t offset = 0; offset < end; offset++) {
            if (offset == next) {
                index++;
                next += bytes_of(c);
            }
            CHECKF(hk_class_block_index(c, offset) == index, " (class %u, offset %u: %u, not %u)",
                   c, offset, hk_class_block_index(c, offset), index);
        }
    }
}

int main(void)
{
    check_classes();
    check_sizes();
    check_alignments();
    check_reciprocals();
    return 0;
}
