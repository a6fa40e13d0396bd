/*
 * Any sequence of calls of the API against a shadow: an input's bytes are operations and their
 * arguments, see step().  Blocks must not overlap, keep their content, be as large and as aligned
 * as asked; failures must be ENOMEM, and only when the input has made the system fail.  The input
 * moves the clock too.  After each input everything is freed, and the heaps must be whole.
 */
#include "fuzz.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "fork_elsewhere.h"

enum { SLOTS = 64, HEAPS = 3, STEPS_MAX = 4096 };

#define LIVE_LIMIT (64 * MIB)

typedef struct slot {
    unsigned char *block;
    size_t size;
    size_t usable;
    size_t alignment; /* as asked for; 0: plain */
    uint64_t id;
    int heap; /* the number of a first-class heap, or -1 */
} slot_t;

static struct {
    slot_t slots[SLOTS];
    hak_heap_t *heaps[HEAPS];
    size_t live_bytes;
    uint64_t next_id;
    bool short_of_memory; /* the system has been made to fail since the input began */
    bool fork_under_way;  /* the refuge serves: no large alignments, and sizes as asked */
} work;

/* ---- The shadow ---- */

static void verify(const slot_t *slot)
{
    if (slot->block == NULL)
        return;
    CHECK(hak_usable_size(slot->block) == slot->usable);
    CHECK(sparse_is_filled(slot->block, slot->usable, slot->usable, slot->id));
}

static void check_apart(const slot_t *slot)
{
    for (size_t i = 0; i < SLOTS; i++) {
        const slot_t *other = &work.slots[i];
        if (other == slot || other->block == NULL)
            continue;
        CHECKF(slot->block + slot->usable <= other->block ||
                   other->block + other->usable <= slot->block,
               " (%p and %p)", (void *)slot->block, (void *)other->block);
    }
}

static void adopt(slot_t *slot, void *block, size_t size, size_t alignment, int heap)
{
    size_t least = size >= 16 ? 16 : 8;
    CHECK(test_is_aligned(block, alignment > least ? alignment : least));
    size_t usable = hak_usable_size(block);
    CHECK(usable >= size);
    *slot = (slot_t){block, size, usable, alignment, work.next_id++, heap};
    work.live_bytes += usable;
    check_apart(slot);
    sparse_fill(block, usable, slot->id);
}

static void forget(slot_t *slot)
{
    work.live_bytes -= slot->usable;
    slot->block = NULL;
}

/* After an allocating call with errno 0 before it: whether it failed; if so it had a reason. */
static bool refused(const void *block, size_t size)
{
    if (block != NULL)
        return false;
    CHECKF(errno == ENOMEM, " (errno %d)", errno);
    CHECKF(size > PTRDIFF_MAX / 2 || work.short_of_memory || work.fork_under_way, " (%zu bytes)",
           size);
    return true;
}

/* ---- Operations ---- */

static void drop(slot_t *slot, uint8_t way)
{
    if (slot->block == NULL)
        return;
    verify(slot);
    slot_t old = *slot;
    forget(slot);
    errno = 4711;
    switch (way % 4) {
    case 0: CHECK(hak_realloc(old.block, 0) == NULL); break;
    case 1:
        if (old.alignment == 0)
            hak_free_sized(old.block, old.size);
        else
            hak_free_aligned_sized(old.block, old.alignment, old.size);
        break;
    default: hak_free(old.block); break;
    }
    CHECK(errno == 4711);
}

static void make_room(void)
{
    for (size_t i = 0; i < SLOTS && work.live_bytes > LIVE_LIMIT; i++)
        drop(&work.slots[i], 2);
}

static void take(slot_t *slot, fuzz_input_t *input)
{
    uint8_t what = fuzz_byte(input);
    size_t size = fuzz_size(input);
    size_t alignment = (size_t)1 << (fuzz_byte(input) % 24);
    int heap = (what & 8) != 0 && !work.fork_under_way ? (what >> 4) % HEAPS : -1;
    heap = heap >= 0 && work.heaps[heap] != NULL ? heap : -1;
    hak_heap_t *in = heap >= 0 ? work.heaps[heap] : NULL;
    bool zeroed = what % 4 == 0;
    bool aligned = what % 4 == 1;
    void *block;
    errno = 0;
    if (zeroed)
        block = in != NULL ? hak_heap_calloc(in, 1, size) : hak_calloc(1, size);
    else if (aligned)
        block = in != NULL ? hak_heap_aligned_alloc(in, alignment, size)
                           : hak_aligned_alloc(alignment, size);
    else
        block = in != NULL ? hak_heap_malloc(in, size) : hak_malloc(size);
    if (refused(block, size))
        return;
    CHECK(!zeroed || sparse_is_zero(block, size));
    adopt(slot, block, size, aligned ? alignment : 0, heap);
    /* A direct mapping may be made of one that was kept, and is then somewhat larger. */
    CHECK(aligned || work.fork_under_way || slot->usable == hak_good_size(size) ||
          (size > 2 * MIB && slot->usable > hak_good_size(size)));
    make_room();
}

static void resize(slot_t *slot, fuzz_input_t *input)
{
    uint8_t what = fuzz_byte(input);
    size_t size = fuzz_size(input);
    slot_t old = *slot;
    if (old.block == NULL || size == 0)
        return;
    verify(&old);
    errno = 0;
    void *block = old.heap >= 0 && (what & 1) != 0
                      ? hak_heap_realloc(work.heaps[old.heap], old.block, size)
                  : (what & 2) != 0 ? hak_reallocarray(old.block, 1, size)
                                    : hak_realloc(old.block, size);
    if (refused(block, size)) {
        verify(slot);
        return;
    }
    size_t kept = old.size < size ? old.size : size;
    CHECK(sparse_is_filled(block, kept, old.usable, old.id));
    forget(slot);
    adopt(slot, block, size, 0, old.heap);
    make_room();
}

static void replace_heap(int number)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (work.slots[i].block != NULL && work.slots[i].heap == number)
            forget(&work.slots[i]);
    hak_heap_destroy(work.heaps[number]);
    errno = 0;
    work.heaps[number] = hak_heap_create();
    CHECK(!refused(work.heaps[number], 0) || work.short_of_memory);
}

static void ask_for_nonsense(size_t size)
{
    static const size_t alignments[] = {0, 3, 12, 4097, SIZE_MAX};
    errno = 0;
    CHECK(hak_aligned_alloc(alignments[size % 5], size) == NULL && errno == EINVAL);
    errno = 0;
    volatile size_t too_many = SIZE_MAX / 2 + 1; /* or the compiler sees it */
    CHECK(hak_calloc(too_many, 2 + size % 8) == NULL && errno == ENOMEM);
    CHECK(hak_usable_size(NULL) == 0);
    hak_free(NULL);
    hak_free_sized(NULL, size);
}

/* What other threads free comes back by an inbox; their own blocks stay live when they have
 * ended. */
typedef struct errand {
    uint8_t first, count;
    fuzz_input_t *input;
} errand_t;

static void *run_errand(void *argument)
{
    errand_t *errand = argument;
    for (unsigned i = 0; i < errand->count; i++) {
        slot_t *slot = &work.slots[(errand->first + i) % SLOTS];
        if (slot->block != NULL)
            drop(slot, errand->first);
        else
            take(slot, errand->input);
    }
    return NULL;
}

/* Another thread forks, and ends it when this one has gone on. */
static void go_on_during_fork(fuzz_input_t *input, unsigned count)
{
    pthread_t forker = fork_begin();
    work.fork_under_way = true;
    for (unsigned i = 0; i < count; i++) {
        slot_t *slot = &work.slots[fuzz_byte(input) % SLOTS];
        if (slot->block == NULL)
            take(slot, input);
        else if (i % 3 == 0 && slot->heap < 0)
            resize(slot, input);
        else
            drop(slot, (uint8_t)i);
    }
    work.fork_under_way = false;
    fork_end(forker);
}

static void step(fuzz_input_t *input)
{
    uint8_t what = fuzz_byte(input);
    uint8_t which = fuzz_byte(input);
    slot_t *slot = &work.slots[which % SLOTS];
    switch (what % 32) {
    case 0: replace_heap(which % HEAPS); break;
    case 1: (void)hak_trim((size_t)which << 14); break;
    case 2: CHECK(hak_check() == 0); break;
    case 3: fake_os_advance((uint64_t)which * 8); break;
    case 4:
        work.short_of_memory = true;
        fake_os_fail_after(which % 32);
        break;
    case 5: fake_os_heal(); break;
    case 6: ask_for_nonsense(which); break;
    case 7: {
        errand_t errand = {which, fuzz_byte(input) % 32, input};
        test_join(test_thread(run_errand, &errand));
        break;
    }
    case 8: /* a run of blocks of one kind */
        for (unsigned i = 0; i < which % 16u; i++) {
            fuzz_input_t again = *input;
            slot_t *next = &work.slots[(which + i) % SLOTS];
            if (next->block == NULL)
                take(next, &again);
        }
        break;
    case 9: /* and its end */
        for (unsigned i = 0; i < which % 32u; i++)
            drop(&work.slots[(which + i * 7) % SLOTS], which);
        break;
    case 10: go_on_during_fork(input, which % 16u); break;
    default:
        if (slot->block == NULL)
            take(slot, input);
        else if ((what & 32) != 0)
            resize(slot, input);
        else
            drop(slot, what >> 6);
        break;
    }
}

static void end_input(void)
{
    fake_os_heal();
    for (size_t i = 0; i < SLOTS; i++)
        drop(&work.slots[i], 2);
    for (int i = 0; i < HEAPS; i++) {
        hak_heap_destroy(work.heaps[i]);
        work.heaps[i] = NULL;
    }
    CHECK(work.live_bytes == 0);
    CHECK(hak_check() == 0);
    (void)hak_trim(0);
    CHECK(hak_check() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    hak_free(hak_malloc(1));
    fake_os.main_thread = false; /* this one has its cache now; all others' end */
    work.short_of_memory = false;
    for (unsigned i = 0; i < STEPS_MAX && input.left > 0; i++)
        step(&input);
    end_input();
    return 0;
}
