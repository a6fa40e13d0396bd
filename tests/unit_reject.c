/*
 * What the line about a misused block says of the block: for every kind, at its start and inside;
 * nothing where there is none; and nothing, without a fault, where the metadata is damaged.
 */
#include "test.h"

#include <hakmem/hakmem.h>
#include <signal.h>
#include <sys/wait.h>

#include "large.h"
#include "os.h"
#include "page_runs.h"
#include "reject.h"
#include "run.h"
#include "superslab.h"

static const char *misused;

static void (*damage_it)(void); /* NULL: nothing is damaged */

static void damage_and_reject(void)
{
    if (damage_it != NULL)
        damage_it();
    hk_reject_block("use", misused, "it is wrong");
}

/* The line that ends a child, which damages what it has to by itself. */
static void read_line(void (*damage)(void), char *line, size_t bytes)
{
    damage_it = damage;
    int status = test_child_says(damage_and_reject, line, bytes);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (status 0x%x: %s)", status, line);
}

/* description is "" where nothing is to be said. */
static void check_damaged(const void *address, const char *description, void (*damage)(void))
{
    char line[512], wanted[512];
    misused = address;
    read_line(damage, line, sizeof line);
    (void)snprintf(wanted, sizeof wanted, "hakmem: use of 0x%zx: it is wrong (%sthread ",
                   (size_t)(uintptr_t)address, description);
    CHECKF(strncmp(line, wanted, strlen(wanted)) == 0, " ('%s', not '%s')", line, wanted);
}

static void check_line(const void *address, const char *description)
{
    check_damaged(address, description, NULL);
}

/* ---- Small blocks ---- */

static hk_slab_t *slab;

static void damage_class(void)
{
    slab->class_index = HK_CLASS_COUNT;
}

static void damage_first_unit(void)
{
    memset(slab->superslab->slab_of, 255, sizeof slab->superslab->slab_of);
}

static void free_slab(void)
{
    slab->units = 0;
}

static void test_small(void)
{
    char *block = hak_malloc(40);
    slab = hk_slab_find(block);
    CHECK(slab != NULL && hk_class_info[slab->class_index].block_bytes == 48);
    check_line(block, "a small block of 48 bytes, ");
    check_line(block + 47, "47 bytes into a small block of 48 bytes, ");
    size_t blocks_bytes = (size_t)48 * hk_class_info[slab->class_index].block_count;
    CHECK(blocks_bytes < HK_UNIT_BYTES);
    check_line(hk_slab_base(slab) + blocks_bytes, ""); /* the rest */
    check_line(slab->superslab->base, "");             /* the live bits */
    check_damaged(block, "", damage_class);
    check_damaged(block, "", damage_first_unit);
    check_damaged(block, "", free_slab);
    hak_free(block);
}

static void test_slab_of_units(void)
{
    char *blocks[8]; /* of 3 to a slab of more units than one */
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        blocks[i] = hak_malloc(40960);
        CHECK(hk_slab_find(blocks[i])->units > 1);
        check_line(blocks[i] + 40959, "40959 bytes into a small block of 40960 bytes, ");
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
}

/* ---- Runs ---- */

static hk_run_area_t *area;

static void damage_shift(void)
{
    area->page_shift = 40;
}

static void damage_pages(void)
{
    area->pages = UINT32_MAX;
    area->base -= (size_t)1 << 40;
}

static void damage_base(void)
{
    area->base += (size_t)1 << 40;
}

static void test_run(void)
{
    hk_run_t *run = allocate(20), *next = allocate(1);
    area = run->area;
    char *block = hk_run_address(run);
    char start[64], inside[64];
    (void)snprintf(start, sizeof start, "a run of %zu bytes, ", 20 * page_bytes);
    (void)snprintf(inside, sizeof inside, "%zu bytes into %s", 20 * page_bytes - 1, start);
    check_line(block, start);
    check_line(block + 20 * page_bytes - 1, inside);
    run->shelf = 1;
    check_line(block, start);
    run->shelf = 0;
    check_damaged(block, "", damage_shift);
    check_damaged(block, "", damage_pages);
    check_damaged(block, "", damage_base);
    CHECK(hk_run_free(run));
    check_line(block, ""); /* how long it was is not known any more */
    CHECK(hk_run_free(next));
}

/* ---- Direct mappings ---- */

static void test_large(void)
{
    char *volatile block = hak_malloc(64 * MIB); /* or the compiler sees that it is freed */
    hk_large_t *large = (hk_large_t *)hk_registry_find(block);
    CHECK(large->region.kind == HK_REGION_LARGE);
    check_line(block, "a direct mapping of 67108864 bytes, ");
    check_line(block + 1, "1 bytes into a direct mapping of 67108864 bytes, ");
    check_line(block + 4 * MIB, ""); /* the map knows a mapping's first 2 MiB alone */
    hak_free(block);
    check_line(block, "");
    block = hak_malloc(100 * KIB); /* a process's first few wait once they are freed */
    CHECK(hk_registry_find(block)->kind == HK_REGION_LARGE);
    check_line(block, "a direct mapping of 102400 bytes, ");
    hak_free(block);
    CHECK(hk_registry_find(block)->kind == HK_REGION_RETIRED);
    check_line(block, "a direct mapping of 102400 bytes, ");
}

/* ---- None of ours ---- */

static void test_foreign(void)
{
    static char fixed[64];
    char automatic[64];
    check_line(fixed, "");
    check_line(automatic, "");
    check_line(NULL, "");
    check_line((void *)UINTPTR_MAX, "");
    check_line((void *)((uintptr_t)1 << 52), "");
}

int main(void)
{
    page_bytes = hk_os_page_bytes();
    test_small();
    test_slab_of_units();
    test_run();
    test_large();
    test_foreign();
    return 0;
}
