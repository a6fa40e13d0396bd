/*
 * The process's own limits: no more mappings (vm.max_map_count), no more address space (RLIMIT_AS),
 * no more data (RLIMIT_DATA).  At each of them requests fail with ENOMEM or are served, blocks keep
 * their content, everything can be freed, the heaps are whole; and when there is room again all
 * succeeds.  Each case is a process of its own.
 */
#include "hak_names.h"

#include <sys/mman.h>
#include <sys/resource.h>

enum { SLOTS = 400, STEPS = 6000, MAPS_MOST = 1 << 21 };

static struct {
    char *block;
    size_t size;
    uint64_t id;
} slots[SLOTS];

static bool short_of; /* requests may fail */
static uint64_t refusals;

static bool refused(const void *block)
{
    if (block != NULL)
        return false;
    CHECKF(errno == ENOMEM, " (errno %d)", errno);
    CHECK(short_of);
    refusals++;
    return true;
}

static void put(size_t i, char *block, size_t size, uint64_t id)
{
    slots[i].block = block;
    slots[i].size = size;
    slots[i].id = id;
    test_fill(block, size, id);
}

static void drop(size_t i)
{
    if (slots[i].block != NULL) {
        CHECK_PATTERN(slots[i].block, slots[i].size, slots[i].size, slots[i].id);
        t_free(slots[i].block);
        slots[i].block = NULL;
    }
}

static void step(test_rng_t *rng)
{
    size_t i = test_below(rng, SLOTS);
    size_t size = 1 + test_log_size(rng, test_below(rng, 8) == 0 ? 22 : 15);
    size_t what = test_below(rng, 8);
    errno = 0;
    if (slots[i].block == NULL) {
        char *block = what == 0   ? t_calloc(1, size)
                      : what == 1 ? t_aligned_alloc((size_t)1 << test_below(rng, 22), size)
                                  : t_malloc(size);
        if (!refused(block))
            put(i, block, size, test_next(rng) | 1);
    } else if (what < 3) {
        char *block = t_realloc(slots[i].block, size);
        if (!refused(block)) {
            CHECK_PATTERN(block, size < slots[i].size ? size : slots[i].size, slots[i].size,
                          slots[i].id);
            put(i, block, size, slots[i].id);
        }
    } else {
        drop(i);
    }
}

static void *thread_body(void *argument)
{
    for (int i = 0; i < 500; i++) {
        errno = 0;
        char *block = t_malloc((size_t)i * 300);
        if (!refused(block))
            t_free(block);
    }
    return argument;
}

/* The work, with a few threads on the way if any can be started. */
static void work(test_rng_t *rng)
{
    for (int i = 0; i < STEPS; i++) {
        step(rng);
        if (i % 1000 == 999)
            (void)hak_trim(0);
        if (i % 2000 == 1999) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, thread_body, NULL) == 0)
                test_join(thread);
        }
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].block != NULL)
            CHECK_PATTERN(slots[i].block, slots[i].size, slots[i].size, slots[i].id);
    CHECK(t_check() == 0);
}

static void work_in_shortage(test_rng_t *rng)
{
    short_of = true;
    work(rng);
    for (size_t i = 0; i < SLOTS; i += 2)
        drop(i);
    work(rng);
    short_of = false;
}

/* ---- Mappings ---- */

/* Cuts a mapping into as many as there may be, all but some. */
static char *use_up_mappings(size_t pages, size_t spare)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *strips = mmap(NULL, pages * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(strips != MAP_FAILED);
    size_t cut = 1;
    while (cut < pages && mprotect(strips + cut * page, page, PROT_READ) == 0)
        cut += 2;
    CHECK(cut < pages);
    for (size_t i = 0; i < spare && cut > 3; i += 2) {
        cut -= 2;
        CHECK(mprotect(strips + cut * page, page, PROT_NONE) == 0);
    }
    return strips;
}

/* Each of these is a mapping that no neighbour can be joined with. */
static void work_far_apart(void)
{
    enum { COUNT = 64, ALIGNMENT = 64 << 20, BYTES = 1 << 20 };
    char *blocks[COUNT];
    short_of = true;
    for (int i = 0; i < COUNT; i++) {
        errno = 0;
        blocks[i] = t_aligned_alloc(ALIGNMENT, BYTES);
        (void)refused(blocks[i]);
    }
    for (int i = 0; i < COUNT; i++)
        t_free(blocks[i]);
    short_of = false;
}

static void out_of_mappings(size_t spare)
{
    test_rng_t rng = test_rng(spare);
    test_use_up_apart(malloc, free);
    (void)hak_trim(0);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < 1000; i++)
        step(&rng);
    char *strips = use_up_mappings(MAPS_MOST, spare);
    work_in_shortage(&rng);
    work_far_apart();
    CHECK(munmap(strips, (size_t)MAPS_MOST * page) == 0);
    work(&rng);
}

static void no_mappings(void)
{
    out_of_mappings(0);
    CHECK(refusals > 0);
}

static void few_mappings(void)
{
    out_of_mappings(6);
}

static void some_mappings(void)
{
    out_of_mappings(40);
}

/* What cannot be unmapped or moved, as it lies side by side with others in one mapping of the
 * kernel's and there is none to cut it in two, has gone when there are mappings again.  The first
 * move that fails may cost its target. */
static void mappings_come_back(void)
{
    enum { COUNT = 16, BYTES = 40 << 20, GROWN = 60 << 20 };
    char *blocks[COUNT];
    test_use_up_apart(malloc, free);
    (void)hak_trim(0);
    size_t before = test_vm_bytes();
    for (int i = 0; i < COUNT; i++)
        CHECK((blocks[i] = t_malloc(BYTES)) != NULL);
    char *strips = use_up_mappings(MAPS_MOST, 4);
    short_of = true;
    for (int i = 1; i < COUNT; i += 2) {
        errno = 0;
        char *grown = t_realloc(blocks[i], GROWN);
        blocks[i] = refused(grown) ? blocks[i] : grown;
    }
    for (int i = 0; i < COUNT; i += 3)
        t_free(blocks[i]);
    (void)hak_trim(0);
    short_of = false;
    CHECK(munmap(strips, (size_t)MAPS_MOST * (size_t)sysconf(_SC_PAGESIZE)) == 0);
    for (int i = 0; i < COUNT; i++)
        if (i % 3 != 0)
            t_free(blocks[i]);
    (void)hak_trim(0);
    size_t after = test_vm_bytes();
    CHECKF(after < before + (size_t)2 * GROWN, " (%zu MiB, then %zu)", before / MIB, after / MIB);
}

/* ---- Address space and data ---- */

static void under_limit(__rlimit_resource_t resource, size_t room)
{
    test_rng_t rng = test_rng(room);
    for (int i = 0; i < 1000; i++)
        step(&rng);
    struct rlimit old;
    CHECK(getrlimit(resource, &old) == 0);
    /* RLIMIT_DATA counts what is private and writable: less than all of this. */
    struct rlimit limit = {(resource == RLIMIT_AS ? test_vm_bytes() : 0) + room, old.rlim_max};
    CHECK(setrlimit(resource, &limit) == 0);
    work_in_shortage(&rng);
    CHECK(refusals > 0);
    CHECK(setrlimit(resource, &old) == 0);
    work(&rng);
}

static void no_address_space(void)
{
    under_limit(RLIMIT_AS, 0);
}

static void little_address_space(void)
{
    under_limit(RLIMIT_AS, 7 * MIB);
}

static void no_data(void)
{
    under_limit(RLIMIT_DATA, 64 * KIB); /* 0 the kernel takes for no limit */
}

static void little_data(void)
{
    under_limit(RLIMIT_DATA, 32 * MIB);
}

int main(int argc, char **argv)
{
    static const test_case_t cases[] = {
        {"no_mappings", no_mappings, 0},
        {"few_mappings", few_mappings, 0},
        {"some_mappings", some_mappings, 0},
        {"mappings_come_back", mappings_come_back, 0},
        {"no_address_space", no_address_space, 0},
        {"little_address_space", little_address_space, 0},
        {"no_data", no_data, 0},
        {"little_data", little_data, 0},
    };
    if (TEST_SANITIZED) {
        puts("skipped: a sanitizer needs mappings and address space of its own");
        return 77;
    }
    return test_cases(argc, argv, cases, TEST_COUNT(cases), 120);
}
