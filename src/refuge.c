/*
 * refuge: see refuge.h.
 */
#include "refuge.h"

#include "gate.h"
#include "limit.h"
#include "log.h"
#include "os.h"

enum { REGION_BYTES = 1 << 20 };

struct hk_refuge {
    hk_region_t region;
    _Atomic size_t bytes;    /* atomic: mapped; less once the fork is over */
    struct hk_refuge *older; /* const: the region that was full before this one */
    _Atomic size_t next;     /* atomic: offset of the unused rest */
    _Atomic size_t written;  /* atomic: bytes of all its blocks so far */
    _Atomic size_t live;     /* atomic: blocks, and one for the fork that made the region */
};

/* In front of each block. */
typedef struct header {
    _Atomic size_t bytes; /* atomic: 0 once it is freed */
    size_t magic;
} header_t;

typedef struct note {
    struct note *next;
    void *block;
} note_t;

static const size_t HEADER_MAGIC = (size_t)0x4841b9a1c3d5e7f1u;

static _Atomic(hk_refuge_t *) current;
static _Atomic uint32_t users; /* atomic: threads that may be looking at `current` and behind it */
_Atomic(void *) hk_refuge_deferred;
_Atomic uint32_t hk_refuge_unclosed;
static _Atomic size_t written_bytes; /* atomic: of all regions, a statistic */
static _Atomic uint32_t replays; /* atomic: threads that have taken notes and not worked them off */

static void drop(hk_refuge_t *refuge)
{
    if (hk_sub_acq_rel(&refuge->live, 1) == 1) {
        size_t bytes =
            hk_load_relaxed(&refuge->bytes); /* relaxed: cut before the last is dropped */
        /* relaxed: a statistic, here and where it is added to */
        hk_sub_relaxed(&written_bytes, hk_load_relaxed(&refuge->written));
        hk_registry_remove(refuge);
        hk_os_unmap(refuge, bytes);
        hk_limit_uncharge(bytes);
    }
}

/* Makes a region with room for bytes the current one, unless another thread is first. */
static bool add_region(hk_refuge_t *full, size_t bytes)
{
    size_t whole = bytes + sizeof(hk_refuge_t) + sizeof(header_t);
    whole = whole < REGION_BYTES ? (size_t)REGION_BYTES : hk_align_up(whole, hk_os_page_bytes());
    hk_refuge_t *refuge = hk_os_map(whole, HK_SUPERSLAB_BYTES);
    if (refuge == NULL) {
        return false;
    }
    hk_limit_charge_always(whole); /* without a region a free would lose its block */
    refuge->region.kind = HK_REGION_REFUGE;
    hk_store_relaxed(&refuge->bytes, whole); /* relaxed, as the next: published by the CAS */
    refuge->older = full;
    hk_store_relaxed(&refuge->next, sizeof *refuge);
    hk_store_relaxed(&refuge->live, 1);
    if (!hk_registry_insert(refuge, &refuge->region)) {
        hk_os_unmap(refuge, whole);
        hk_limit_uncharge(whole);
        return false;
    }
    if (!hk_cas_acq_rel(&current, &full, refuge)) {
        drop(refuge);
    }
    return true;
}

static void *bump(hk_refuge_t *refuge, size_t bytes, size_t alignment)
{
    size_t room = bytes + sizeof(header_t) + alignment;
    size_t whole = hk_load_relaxed(&refuge->bytes); /* relaxed: not cut while there are users */
    if (room > whole || hk_load_relaxed(&refuge->next) > whole - room) {
        return NULL; /* relaxed: the addition decides */
    }
    size_t offset = hk_add_acq_rel(&refuge->next, room);
    /* The registry knows a region by its first 2 MiB: every block must start in them. */
    if (offset > whole - room || offset + sizeof(header_t) + alignment > HK_SUPERSLAB_BYTES) {
        return NULL;
    }
    hk_add_relaxed(&refuge->written, room);
    hk_add_relaxed(&written_bytes, room);
    hk_add_relaxed(&refuge->live, 1); /* relaxed: the fork's own count keeps it above zero */
    uintptr_t block = hk_align_up((uintptr_t)refuge + offset + sizeof(header_t), alignment);
    header_t *header = (header_t *)block - 1;
    hk_store_relaxed(&header->bytes, bytes); /* relaxed: published with the block */
    header->magic = HEADER_MAGIC ^ block;
    return (void *)block;
}

void *hk_refuge_allocate(size_t size, size_t alignment)
{
    size_t bytes = hk_align_up(size + (size == 0), 16);
    alignment = alignment < 16 ? 16 : alignment;
    if (alignment > HK_REFUGE_ALIGNMENT || bytes < size) {
        return NULL;
    }
    void *block = NULL;
    bool possible = true;
    hk_add_seq_cst(&users, 1); /* pairs with hk_refuge_close */
    while (block == NULL && possible) {
        hk_refuge_t *refuge = hk_load_seq_cst(&current);
        block = refuge == NULL ? NULL : bump(refuge, bytes, alignment);
        if (block == NULL) {
            possible = add_region(refuge, bytes + alignment + sizeof(header_t));
        }
    }
    hk_sub_seq_cst(&users, 1);
    /* If the fork is over, its thread may have had to leave this region in place. */
    if (hk_load_seq_cst(&hk_gate_closed) == 0) {
        hk_store_release(&hk_refuge_unclosed, 1); /* pairs with the exchange in replay */
    }
    return block;
}

/* The registry's entry stands for 2 MiB, of which the region may have only the first half. */
static header_t *header_of(const hk_refuge_t *refuge, const void *block, const char *what)
{
    header_t *header = (header_t *)((uintptr_t)block - sizeof(header_t));
    uintptr_t offset = (uintptr_t)block - (uintptr_t)refuge;
    size_t bytes = hk_load_relaxed(&refuge->bytes); /* relaxed: blocks end before, cut or not */
    if (offset < sizeof(hk_refuge_t) + sizeof(header_t) || offset >= bytes ||
        ((uintptr_t)block & 15) != 0 || header->magic != (HEADER_MAGIC ^ (uintptr_t)block)) {
        hk_log_fatal(what, block, "an interior pointer: no block starts there");
    }
    return header;
}

void hk_refuge_free(hk_refuge_t *refuge, void *block)
{
    if (hk_exchange_acq_rel(&header_of(refuge, block, "invalid free")->bytes, 0) == 0) {
        hk_log_fatal("double free", block, "the block is free already");
    }
    drop(refuge);
}

size_t hk_refuge_usable_bytes(const hk_refuge_t *refuge, const void *block, const char *what)
{
    /* relaxed: the caller holds the block */
    size_t bytes = hk_load_relaxed(&header_of(refuge, block, what)->bytes);
    if (bytes == 0) {
        hk_log_fatal(what, block, "the block is free already");
    }
    return bytes;
}

bool hk_refuge_defer(void *block)
{
    note_t *note = hk_refuge_allocate(sizeof *note, 16);
    if (note == NULL) {
        return false;
    }
    note->block = block;
    void *head = hk_load_relaxed(&hk_refuge_deferred); /* relaxed: the CAS orders */
    do {
        note->next = head;
    } while (!hk_cas_acq_rel(&hk_refuge_deferred, &head, note)); /* taken whole only: no ABA */
    return true;
}

void hk_refuge_replay(void (*free_block)(void *block))
{
    hk_add_seq_cst(&replays, 1); /* before the notes are taken: pairs with hk_refuge_settle */
    note_t *note = hk_exchange_acq_rel(&hk_refuge_deferred, NULL);
    while (note != NULL) {
        note_t *next = note->next;
        free_block(note->block);
        hk_refuge_free((hk_refuge_t *)(void *)hk_registry_find(note), note);
        note = next;
    }
    hk_sub_acq_rel(&replays, 1); /* release: what was freed is seen by who finds 0 */
    if (hk_exchange_acq_rel(&hk_refuge_unclosed, 0) != 0) {
        hk_refuge_close();
    }
}

void hk_refuge_settle(void (*free_block)(void *block))
{
    hk_refuge_replay(free_block);
    while (hk_load_seq_cst(&replays) != 0) {
        hk_os_yield();
    }
}

size_t hk_refuge_bytes(void)
{
    return hk_load_relaxed(&written_bytes); /* relaxed: a statistic */
}

/* Gives back the pages of a region that no block has come to.  Nobody looks at it but to free. */
static void cut(hk_refuge_t *refuge)
{
    size_t bytes = hk_load_relaxed(&refuge->bytes); /* relaxed, as next: written by nobody now */
    size_t used = hk_align_up(hk_load_relaxed(&refuge->next), hk_os_page_bytes());
    if (used < bytes) {
        hk_store_relaxed(&refuge->bytes, used);
        hk_os_unmap((char *)refuge + used, bytes - used);
        hk_limit_uncharge(bytes - used);
    }
}

void hk_refuge_close(void)
{
    hk_refuge_t *refuge = hk_exchange_seq_cst(&current, NULL); /* pairs with hk_refuge_allocate */
    if (refuge == NULL) {
        return;
    }
    /* A thread may still be looking at it.  Then the region stays, and that thread sets
     * hk_refuge_unclosed; but if another region is current already, this waits. */
    if (hk_load_seq_cst(&users) != 0) {
        hk_refuge_t *none = NULL;
        if (hk_cas_acq_rel(&current, &none, refuge)) {
            return;
        }
        while (hk_load_seq_cst(&users) != 0) {
            hk_os_yield();
        }
    }
    while (refuge != NULL) {
        hk_refuge_t *older = refuge->older;
        cut(refuge);
        drop(refuge);
        refuge = older;
    }
}

/* The regions stay as they are.  Others went on in them while the kernel copied page by page, so
 * that a block may have come along and what its region says of it not. */
void hk_refuge_reset(void)
{
    hk_store_seq_cst(&current, NULL);
    hk_store_seq_cst(&users, 0);
    hk_store_seq_cst(&hk_refuge_deferred, NULL);
    hk_store_seq_cst(&replays, 0);
    hk_store_seq_cst(&hk_refuge_unclosed, 0);
}
