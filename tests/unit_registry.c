/*
 * The registry: the near table's arithmetic, and the map with and without memory for its leaves.
 */
#include "test.h"

#include "registry.h"

#include "fake_os.h"

#define TIB (UINT64_C(1) << 40)
#define SUPERSLAB ((uintptr_t)HK_SUPERSLAB_BYTES)

static const uintptr_t top = (uintptr_t)1 << 47;
static hk_region_t region = {HK_REGION_SUPERSLAB};
static hk_region_t other = {HK_REGION_LARGE};

/* The class that free would read for the address and a thread whose heap is owner; from
 * HK_CLASS_COUNT on it is not its own. */
static uint64_t near_class(uintptr_t address, uint16_t owner)
{
    uint64_t tag = (uint64_t)owner << HK_OWNER_SHIFT;
    return (hk_registry_near(address) ^ address ^ tag) >> HK_UNIT_SHIFT;
}

static void check_near(void)
{
    static const uint16_t owners[] = {1, 2, 77, 0x0fff, 0x8000, 0xfffe};
    static const uintptr_t units[] = {0x10000, 0x7f0012340000, 0x7fffffff0000, 0x123456780000};
    for (size_t u = 0; u < TEST_COUNT(units); u++) {
        uintptr_t unit = units[u];
        for (unsigned c = 0; c < HK_CLASS_COUNT; c++) {
            for (size_t o = 0; o < TEST_COUNT(owners); o++) {
                uint16_t owner = owners[o];
                hk_registry_set_near(unit, c, owner);
                CHECK(near_class(unit, owner) == c);
                CHECK(near_class(unit + 1, owner) == c);
                CHECK(near_class(unit + HK_UNIT_BYTES - 1, owner) == c);
                for (size_t p = 0; p < TEST_COUNT(owners); p++)
                    CHECK(p == o || near_class(unit, owners[p]) >= HK_CLASS_COUNT);
                CHECK(near_class(unit, 0) >= HK_CLASS_COUNT);
                CHECK(near_class(unit, HK_OWNER_NONE) >= HK_CLASS_COUNT);
                /* Addresses 4 GiB apart share the entry, and are not taken for the unit's. */
                for (uintptr_t far = (uintptr_t)1 << 32; far < top; far <<= 1)
                    CHECK(near_class(unit ^ far, owner) >= HK_CLASS_COUNT);
                CHECK(near_class(unit + HK_UNIT_BYTES, owner) >= HK_CLASS_COUNT);

                /* Somebody else's clearing leaves it. */
                hk_registry_clear_near(unit, c + 1, owner);
                hk_registry_clear_near(unit, c, (uint16_t)(owner ^ 1));
                hk_registry_clear_near(unit ^ ((uintptr_t)1 << 40), c, owner);
                CHECK(near_class(unit, owner) == c);

                /* The later of two that share an entry has it; clearing the earlier one changes
                 * nothing. */
                uintptr_t twin = unit ^ ((uintptr_t)1 << 33);
                hk_registry_set_near(twin, c, owner);
                CHECK(near_class(twin, owner) == c);
                CHECK(near_class(unit, owner) >= HK_CLASS_COUNT);
                hk_registry_clear_near(unit, c, owner);
                CHECK(near_class(twin, owner) == c);
                hk_registry_clear_near(twin, c, owner);
                CHECK(hk_registry_near(twin) == 0);
            }
        }
    }
    /* NULL and foreign blocks are nobody's. */
    for (size_t o = 0; o < TEST_COUNT(owners); o++) {
        CHECK(near_class(0, owners[o]) >= HK_CLASS_COUNT);
        CHECK(near_class(0x7ffd00001230, owners[o]) >= HK_CLASS_COUNT);
    }
}

static void check_place(uintptr_t address)
{
    void *start = (void *)address;
    CHECK(hk_registry_find(start) == NULL);
    CHECK(hk_registry_insert(start, &region));
    CHECK(hk_registry_find(start) == &region);
    CHECK(hk_registry_find((char *)start + 1) == &region);
    CHECK(hk_registry_find((char *)start + SUPERSLAB - 1) == &region);
    CHECK(hk_registry_find((void *)(address - 1)) == NULL);
    CHECK(hk_registry_find((void *)(address + SUPERSLAB)) == NULL);
    CHECK(hk_registry_insert(start, &other)); /* a place is given to another */
    CHECK(hk_registry_find(start) == &other);
    hk_registry_remove(start);
    CHECK(hk_registry_find(start) == NULL);
    CHECK(hk_registry_find((char *)start + SUPERSLAB - 1) == NULL);
}

static void check_map(void)
{
    CHECK(hk_registry_find(NULL) == NULL);
    for (unsigned bit = HK_SUPERSLAB_SHIFT; bit < 47; bit++)
        check_place((uintptr_t)1 << bit);
    check_place(top - SUPERSLAB);
    check_place(64 * TIB + 16 * 1024 * MIB); /* a leaf's first, and its last */
    check_place(64 * TIB + 16 * 1024 * MIB - SUPERSLAB);

    /* Not addresses of programs. */
    uint64_t maps = fake_os.maps;
    static const uintptr_t strange[] = {(uintptr_t)1 << 48, (uintptr_t)1 << 63,
                                        UINTPTR_MAX << HK_SUPERSLAB_SHIFT};
    for (size_t i = 0; i < TEST_COUNT(strange); i++) {
        CHECK(!hk_registry_insert((void *)strange[i], &region));
        CHECK(hk_registry_find((void *)strange[i]) == NULL);
    }
    CHECK(hk_registry_find((void *)UINTPTR_MAX) == NULL);
    CHECK(fake_os.maps == maps);
}

static void check_no_memory(void)
{
    uintptr_t here = 96 * TIB; /* a leaf that does not exist */
    size_t mapped = fake_os.mapped_bytes;
    fake_os_fail_after(0);
    CHECK(!hk_registry_insert((void *)here, &region));
    CHECK(hk_registry_find((void *)here) == NULL);
    CHECK(fake_os.mapped_bytes == mapped);
    fake_os_heal();
    CHECK(hk_registry_insert((void *)here, &region));
    CHECK(fake_os.mapped_bytes > mapped);
    mapped = fake_os.mapped_bytes;
    fake_os_fail_after(0); /* the leaf serves its neighbours without memory */
    CHECK(hk_registry_insert((void *)(here + 5 * SUPERSLAB), &other));
    CHECK(hk_registry_find((void *)here) == &region);
    CHECK(hk_registry_find((void *)(here + 5 * SUPERSLAB)) == &other);
    fake_os_heal();
    CHECK(fake_os.mapped_bytes == mapped);
    hk_registry_remove((void *)here);
    hk_registry_remove((void *)(here + 5 * SUPERSLAB));
    CHECK(fake_os.mapped_bytes == mapped); /* leaves stay */
}

enum { THREADS = 8, LEAVES = 64 };

static hk_region_t regions[THREADS];
static pthread_barrier_t barrier;

static uintptr_t place(size_t leaf, size_t thread)
{
    return 100 * TIB + ((uintptr_t)leaf << 34) + (uintptr_t)thread * SUPERSLAB;
}

static void *insert_many(void *argument)
{
    size_t thread = (size_t)argument;
    for (size_t leaf = 0; leaf < LEAVES; leaf++) {
        pthread_barrier_wait(&barrier);
        CHECK(hk_registry_insert((void *)place(leaf, thread), &regions[thread]));
        CHECK(hk_registry_find((void *)place(leaf, thread)) == &regions[thread]);
    }
    return NULL;
}

/* Threads that add the same leaf at once: one leaf remains, and no entry is lost. */
static void check_race(void)
{
    pthread_t threads[THREADS];
    size_t mapped = fake_os.mapped_bytes;
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(insert_many, (void *)i);
    for (size_t i = 0; i < THREADS; i++)
        test_join(threads[i]);
    for (size_t leaf = 0; leaf < LEAVES; leaf++)
        for (size_t i = 0; i < THREADS; i++)
            CHECK(hk_registry_find((void *)place(leaf, i)) == &regions[i]);
    CHECK((fake_os.mapped_bytes - mapped) % LEAVES == 0);
    CHECK((fake_os.mapped_bytes - mapped) / LEAVES == 64 * KIB);
}

int main(void)
{
    check_near();
    check_map();
    check_no_memory();
    check_race();
    return 0;
}
