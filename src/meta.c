/*
 * meta: a bump allocator with a free list for each kind.  See meta.h.
 */
#include "meta.h"

#include "limit.h"
#include "lock.h"
#include "options.h"
#include "os.h"

enum {
    FIRST_CHUNK_BYTES = 64 * 1024,
    CHUNK_BYTES = 256 * 1024,
    /* With hardening so much lies between walls, which take two or three mappings a chunk. */
    WALLED_BYTES_MAX = 256 << 20,
};

typedef struct free_node {
    struct free_node *next;
} free_node_t;

/* At the start of each chunk but the first; the rest is handed out. */
typedef struct chunk {
    _Alignas(HK_META_ALIGNMENT) struct chunk *older; /* const */
} chunk_t;

/* The first chunk is part of the library, so that a small program maps nothing for it; untouched
 * pages cost nothing. */
static _Alignas(HK_META_ALIGNMENT) char first_chunk[FIRST_CHUNK_BYTES];

static struct {
    hk_lock_t lock;
    char *next;                          /* lock(meta): the unused rest of the chunk */
    size_t left;                         /* lock(meta) */
    chunk_t *newest;                     /* lock(meta) */
    size_t chunk_bytes;                  /* lock(meta): taken so far, without the first */
    free_node_t *freed[HK_META_KINDS];   /* lock(meta) */
    free_node_t *bundles[HK_META_KINDS]; /* lock(meta): their first objects */
    bool started;                        /* lock(meta): the first chunk is in use */
} meta;

/* Makes room for bytes.  The rest of the old chunk, smaller than one object, is lost. */
static bool add_chunk(size_t bytes)
{
    if (!meta.started && bytes <= FIRST_CHUNK_BYTES) {
        hk_limit_charge_always(FIRST_CHUNK_BYTES);
        meta.started = true;
        meta.next = first_chunk;
        meta.left = FIRST_CHUNK_BYTES;
        return true;
    }
    /* A system call under a lock: it is the leaf lock, and one call serves hundreds of objects. */
    size_t page = hk_os_page_bytes();
    bool walled = hk_options.harden != 0 && meta.chunk_bytes < WALLED_BYTES_MAX;
    chunk_t *chunk =
        walled ? hk_limit_map_walled(CHUNK_BYTES, page) : hk_limit_map(CHUNK_BYTES, page);
    if (chunk == NULL) {
        return false;
    }
    chunk->older = meta.newest;
    meta.newest = chunk;
    meta.next = (char *)(chunk + 1);
    meta.left = CHUNK_BYTES - sizeof *chunk;
    meta.chunk_bytes += CHUNK_BYTES;
    return true;
}

static void push(free_node_t **list, void *memory)
{
    free_node_t *node = memory;
    hk_lock_acquire(&meta.lock, HK_RANK_META);
    node->next = *list;
    *list = node;
    hk_lock_release(&meta.lock, HK_RANK_META);
}

/* NULL if the list is empty. */
static void *pop_locked(free_node_t **list)
{
    free_node_t *first = *list;
    if (first != NULL) {
        *list = first->next;
    }
    return first;
}

void *hk_meta_allocate(hk_meta_kind_t kind, size_t bytes)
{
    bytes = hk_align_up(bytes, HK_META_ALIGNMENT);
    hk_lock_acquire(&meta.lock, HK_RANK_META);
    void *memory = pop_locked(&meta.freed[kind]);
    if (memory == NULL && (bytes <= meta.left || add_chunk(bytes))) {
        memory = meta.next;
        meta.next += bytes;
        meta.left -= bytes;
    }
    hk_lock_release(&meta.lock, HK_RANK_META);
    return memory;
}

void hk_meta_free(hk_meta_kind_t kind, void *memory)
{
    push(&meta.freed[kind], memory);
}

void *hk_meta_take_bundle(hk_meta_kind_t kind)
{
    hk_lock_acquire(&meta.lock, HK_RANK_META);
    void *first = pop_locked(&meta.bundles[kind]);
    hk_lock_release(&meta.lock, HK_RANK_META);
    return first;
}

void hk_meta_free_bundle(hk_meta_kind_t kind, void *first)
{
    push(&meta.bundles[kind], first);
}

size_t hk_meta_bytes(void)
{
    hk_lock_acquire(&meta.lock, HK_RANK_META);
    size_t bytes = meta.chunk_bytes + (meta.started ? (size_t)FIRST_CHUNK_BYTES : 0);
    hk_lock_release(&meta.lock, HK_RANK_META);
    return bytes;
}

void hk_meta_each_chunk(void (*visit)(const void *address, size_t bytes, void *context),
                        void *context)
{
    hk_lock_acquire(&meta.lock, HK_RANK_META);
    const chunk_t *chunk = meta.newest;
    bool started = meta.started;
    hk_lock_release(&meta.lock, HK_RANK_META);
    if (started) {
        visit(first_chunk, FIRST_CHUNK_BYTES, context);
    }
    for (; chunk != NULL; chunk = chunk->older) {
        visit(chunk, CHUNK_BYTES, context);
    }
}

void hk_meta_reset_lock(void)
{
    hk_lock_reset(&meta.lock);
}
