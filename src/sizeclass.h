/*
 * sizeclass: which sizes exist.  Pure arithmetic, no state.
 *
 * 16, 32, 48 ... 128, then eight classes to each doubling, up to 64 KiB: above 128 bytes a request
 * wastes at most 1/9 of its block.  Every class is a multiple of 16, and slabs start at a multiple
 * of 64 KiB, so a block's alignment is the largest power of two that divides its class.
 */
#ifndef HK_SIZECLASS_H
#define HK_SIZECLASS_H

#include "base.h"

enum {
    HK_GRANULE_BYTES = 16, /* every block starts at a multiple of it */
    HK_UNIT_SHIFT = 16,
    HK_UNIT_BYTES = 1 << HK_UNIT_SHIFT, /* a slab is one unit or a few */
    HK_TINY_CLASSES = 8,                /* 16, 32, 48, 64, 80, 96, 112, 128 */
    HK_CLASS_COUNT = HK_TINY_CLASSES + 9 * 8,
    HK_TABLE_MAX = 1024,       /* requests up to here find their class in a table */
    HK_SMALL_MAX = 64 * 1024,  /* the largest class */
    HK_SLAB_BLOCKS_MAX = 4096, /* the bits in a unit's bitmap */
};

/* X(bytes) for the block size of each class in turn, for tables by class. */
#define HK_CLASS_DOUBLING(X, base)                                                                 \
    X((base) + (base) / 8)                                                                         \
    X((base) + 2 * (base) / 8)                                                                     \
    X((base) + 3 * (base) / 8)                                                                     \
    X((base) + 4 * (base) / 8)                                                                     \
    X((base) + 5 * (base) / 8)                                                                     \
    X((base) + 6 * (base) / 8)                                                                     \
    X((base) + 7 * (base) / 8)                                                                     \
    X(2 * (base))
#define HK_CLASS_TABLE(X)                                                                          \
    X(16)                                                                                          \
    X(32)                                                                                          \
    X(48)                                                                                          \
    X(64)                                                                                          \
    X(80)                                                                                          \
    X(96)                                                                                          \
    X(112)                                                                                         \
    X(128)                                                                                         \
    HK_CLASS_DOUBLING(X, 128)                                                                      \
    HK_CLASS_DOUBLING(X, 256)                                                                      \
    HK_CLASS_DOUBLING(X, 512)                                                                      \
    HK_CLASS_DOUBLING(X, 1024)                                                                     \
    HK_CLASS_DOUBLING(X, 2048)                                                                     \
    HK_CLASS_DOUBLING(X, 4096)                                                                     \
    HK_CLASS_DOUBLING(X, 8192)                                                                     \
    HK_CLASS_DOUBLING(X, 16384)                                                                    \
    HK_CLASS_DOUBLING(X, 32768)

typedef struct hk_class_info {
    uint64_t reciprocal; /* ceil(2^40 / block_bytes): offset * it >> 40 is the block's index */
    uint32_t block_bytes;
    uint16_t block_count; /* in a slab */
    uint8_t units;        /* of a slab */
} hk_class_info_t;

extern const hk_class_info_t hk_class_info[HK_CLASS_COUNT];
extern const uint8_t hk_class_table[HK_TABLE_MAX + 1];

/* The class for any size from 129 to HK_SMALL_MAX, by computation. */
static inline unsigned hk_class_compute(size_t size)
{
    unsigned log2 = 63u ^ (unsigned)__builtin_clzl(size - 1); /* with XOR it is one instruction */
    return HK_TINY_CLASSES + (log2 - 8) * 8 + (unsigned)((size - 1) >> (log2 - 3)); /* 8 to 15 */
}

/* The class for a size up to HK_SMALL_MAX. */
static inline unsigned hk_class_of(size_t size)
{
    return size <= HK_TABLE_MAX ? hk_class_table[size] : hk_class_compute(size);
}

/* The smallest class for size whose blocks are aligned to alignment; HK_CLASS_COUNT if there is
 * none.
 *
 * That is the class of the next multiple of alignment.  Where classes lie closer together than
 * alignment, each multiple of it is a class; where they do not, every class is a multiple of it. */
static inline unsigned hk_class_of_aligned(size_t size, size_t alignment)
{
    size_t bytes = (size + (size == 0) + alignment - 1) & ~(alignment - 1);
    return size <= HK_SMALL_MAX && bytes <= HK_SMALL_MAX ? hk_class_of(bytes) : HK_CLASS_COUNT;
}

/* The index of the block that holds offset in a slab of the class. */
static inline uint32_t hk_class_block_index(unsigned class_index, uint32_t offset)
{
    return (uint32_t)((offset * hk_class_info[class_index].reciprocal) >> 40);
}

/* The index of the block that starts at offset in a slab of the class, or UINT32_MAX if none
 * does. */
static inline uint32_t hk_class_info_start_index(const hk_class_info_t *info, uint64_t offset)
{
    uint64_t index = offset * info->reciprocal >> 40;
    bool starts = index * info->block_bytes == offset &&
                  offset < (uint32_t)info->block_count * info->block_bytes;
    return HK_LIKELY(starts) ? (uint32_t)index : UINT32_MAX;
}

static inline uint32_t hk_class_start_index(unsigned class_index, uint32_t offset)
{
    return hk_class_info_start_index(&hk_class_info[class_index], offset);
}

#endif
