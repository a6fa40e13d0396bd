/*
 * sizeclass: the tables, made by the compiler.  See sizeclass.h.
 */
#include "sizeclass.h"

/* clang-format off */
#define WASTES(units, bytes) ((units) * HK_UNIT_BYTES % (bytes) > (units) * HK_UNIT_BYTES / 8)
#define UNITS(bytes) \
    (!WASTES(1u, bytes) ? 1u : !WASTES(2u, bytes) ? 2u : !WASTES(3u, bytes) ? 3u : 4u)
#define RAW_BLOCKS(bytes) (UNITS(bytes) * HK_UNIT_BYTES / (bytes))
#define BLOCKS(bytes) \
    (RAW_BLOCKS(bytes) > HK_SLAB_BLOCKS_MAX ? HK_SLAB_BLOCKS_MAX : RAW_BLOCKS(bytes))
#define ROW(bytes) {((1ull << 40) + (bytes) - 1) / (bytes), (bytes), BLOCKS(bytes), UNITS(bytes)},

const hk_class_info_t hk_class_info[HK_CLASS_COUNT] = {HK_CLASS_TABLE(ROW)};

/* The class of a size up to HK_TABLE_MAX, for the table below. */
#define LOG2(s) ((s) <= 256 ? 7 : (s) <= 512 ? 8 : 9)
#define CLASS(s) \
    ((uint8_t)((s) <= 16    ? 0 \
               : (s) <= 128 ? ((s) + 15) / 16 - 1 \
                            : HK_TINY_CLASSES + (LOG2(s) - 7) * 8 + \
                                  ((((s) - 1) >> (LOG2(s) - 3)) & 7)))
#define C4(i) CLASS(i), CLASS((i) + 1), CLASS((i) + 2), CLASS((i) + 3)
#define C16(i) C4(i), C4((i) + 4), C4((i) + 8), C4((i) + 12)
#define C64(i) C16(i), C16((i) + 16), C16((i) + 32), C16((i) + 48)
#define C256(i) C64(i), C64((i) + 64), C64((i) + 128), C64((i) + 192)

const uint8_t hk_class_table[HK_TABLE_MAX + 1] = {C256(0), C256(256), C256(512), C256(768),
                                                  CLASS(1024)};
/* clang-format on */

static_assert(CLASS(128) == HK_TINY_CLASSES - 1, "the tiny classes end at 128 bytes");
static_assert(CLASS(136) == HK_TINY_CLASSES, "the doublings start behind them");
static_assert(CLASS(HK_TABLE_MAX) == HK_TINY_CLASSES + 3 * 8 - 1, "the table ends with a doubling");
