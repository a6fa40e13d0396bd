/*
 * nothing: see nothing.h.
 */
#include "nothing.h"

#include "lock.h"
#include "log.h"
#include "os.h"
#include "random.h"
#include "registry.h"

enum {
    APART_BYTES = HK_NOTHING_ALIGNMENT,
    WORDS = HK_SUPERSLAB_BYTES / APART_BYTES / 64,
};

static hk_region_t region = {HK_REGION_NOTHING};

static struct {
    hk_lock_t lock;
    char *base;           /* lock(nothing): NULL until first used */
    uint64_t random;      /* lock(nothing) */
    uint64_t live[WORDS]; /* lock(nothing): a bit for each address that is handed out */
} range;

/* Reserves the range if nobody has. */
static bool ensure_range(void)
{
    hk_lock_acquire(&range.lock, HK_RANK_GUARD);
    bool ready = range.base != NULL;
    hk_lock_release(&range.lock, HK_RANK_GUARD);
    if (ready) {
        return true;
    }
    char *base = hk_os_reserve(HK_SUPERSLAB_BYTES, HK_SUPERSLAB_BYTES);
    if (base == NULL) {
        return false;
    }
    if (!hk_registry_insert(base, &region)) {
        hk_os_unmap(base, HK_SUPERSLAB_BYTES);
        return false;
    }
    uint64_t random = hk_random_seed();
    hk_lock_acquire(&range.lock, HK_RANK_GUARD);
    bool mine = range.base == NULL;
    if (mine) {
        range.random = random;
        range.base = base;
    }
    hk_lock_release(&range.lock, HK_RANK_GUARD);
    if (!mine) { /* another thread was first */
        hk_registry_remove(base);
        hk_os_unmap(base, HK_SUPERSLAB_BYTES);
    }
    return true;
}

void *hk_nothing_allocate(void)
{
    char *block = NULL;
    if (!ensure_range()) {
        return NULL;
    }
    hk_lock_acquire(&range.lock, HK_RANK_GUARD);
    unsigned start = hk_random_below(&range.random, WORDS);
    for (unsigned i = 0; i < WORDS && block == NULL; i++) {
        unsigned word = (start + i) % WORDS;
        uint64_t free_bits = ~range.live[word];
        if (free_bits != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(free_bits);
            range.live[word] |= 1ull << bit;
            block = range.base + ((size_t)word * 64 + bit) * APART_BYTES;
        }
    }
    hk_lock_release(&range.lock, HK_RANK_GUARD);
    return block;
}

static bool is_live_locked(size_t offset)
{
    uint64_t word = range.live[offset / APART_BYTES / 64];
    return offset % APART_BYTES == 0 && (word >> offset / APART_BYTES % 64 & 1) != 0;
}

/* Whether the address is handed out. */
static bool is_live(const void *block)
{
    hk_lock_acquire(&range.lock, HK_RANK_GUARD);
    bool live = is_live_locked((size_t)((const char *)block - range.base));
    hk_lock_release(&range.lock, HK_RANK_GUARD);
    return live;
}

/* Takes it back; false if it is not handed out. */
static bool take_back(const void *block)
{
    size_t offset = (size_t)((const char *)block - range.base);
    hk_lock_acquire(&range.lock, HK_RANK_GUARD);
    bool live = is_live_locked(offset);
    if (live) {
        range.live[offset / APART_BYTES / 64] &= ~(1ull << offset / APART_BYTES % 64);
    }
    hk_lock_release(&range.lock, HK_RANK_GUARD);
    return live;
}

void hk_nothing_free(const void *block)
{
    if (!take_back(block)) {
        hk_log_fatal("double free", block, "no block of no bytes is live there");
    }
}

size_t hk_nothing_usable_bytes(const void *block, const char *what)
{
    if (!is_live(block)) {
        hk_log_fatal(what, block, "no block of no bytes is live there");
    }
    return 0;
}

void hk_nothing_reset_lock(void)
{
    hk_lock_reset(&range.lock);
}
