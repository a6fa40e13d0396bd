/*
 * stats: the figures of hak_stats_t as a table: name, whether the figure is in bytes, what it
 * means; and those of one size class.
 *
 * The text report and the JSON are made from them.  The structure itself is part of the public
 * header.
 */
#ifndef HK_STATS_H
#define HK_STATS_H

/* X(field, is_bytes, what it is) */
#define HK_STATS_TABLE(X)                                                                          \
    X(mapped_bytes, 1, "address space mapped")                                                     \
    X(committed_bytes, 1, "of it, possibly resident")                                              \
    X(in_use_bytes, 1, "blocks of the program and of thread caches")                               \
    X(large_bytes, 1, "of them, direct mappings")                                                  \
    X(run_bytes, 1, "of them, runs of pages")                                                      \
    X(depot_bytes, 1, "free blocks in depots")                                                     \
    X(slab_free_bytes, 1, "free blocks in slabs")                                                  \
    X(hole_bytes, 1, "of them, pages given back though the slab is in use")                        \
    X(pool_warm_bytes, 1, "empty slabs kept in pools")                                             \
    X(run_warm_bytes, 1, "free runs of pages kept for reuse")                                      \
    X(large_cached_bytes, 1, "direct mappings kept for reuse")                                     \
    X(metadata_bytes, 1, "the allocator's own data")                                               \
    X(purged_bytes, 1, "given back to the system so far")                                          \
    X(superslabs, 0, "superslabs")                                                                 \
    X(huge_superslabs, 0, "of them, asked to be of huge pages")                                    \
    X(huge_refusals, 0, "times that the system refused that")                                      \
    X(converted_superslabs, 0, "superslabs made of free runs, or turned into such, so far")        \
    X(heaps, 0, "heaps")                                                                           \
    X(remote_magazines, 0, "magazines handed to another heap")                                     \
    X(cap_hits, 0, "times that a size class was at its cap")

/* X(field, sign, what it is: what would reduce it).  The lines add up to resident_bytes. */
#define HK_LEDGER_TABLE(X)                                                                         \
    X(live_bytes, +, "in the program's hands, waste inside blocks and all")                        \
    X(cache_bytes, +, "free in threads' caches: the threads' end, malloc_trim in them")            \
    X(outgoing_bytes, +, "freed, on the way to other heaps: more frees")                           \
    X(inbox_bytes, +, "in inboxes: time, or malloc_trim")                                          \
    X(depot_bytes, +, "in depots: time, or malloc_trim")                                           \
    X(untouched_bytes, -, "of all these, never written to")                                        \
    X(slab_free_resident_bytes, +, "free between live blocks of a slab: freeing these")            \
    X(slab_rest_bytes, +, "ends of slabs, too short for a block")                                  \
    X(pool_warm_resident_bytes, +, "empty slabs: time, or malloc_trim")                            \
    X(run_warm_resident_bytes, +, "free runs of pages: time, or malloc_trim")                      \
    X(excess_bytes, +, "in unused places, by huge pages: no transparent huge pages")               \
    X(large_cached_resident_bytes, +, "direct mappings kept: time, or malloc_trim")                \
    X(metadata_resident_bytes, +, "the allocator's own data")                                      \
    X(library_bytes, +, "the library's tables")                                                    \
    X(refuge_bytes, +, "allocated while a fork was under way")

/* X(field, is_large, heading): of one size class; the text has large figures in KiB. */
#define HK_OCCUPANCY_TABLE(X)                                                                      \
    X(block_bytes, 0, "block")                                                                     \
    X(slab_bytes, 1, "slabs")                                                                      \
    X(free_bytes, 1, "free")                                                                       \
    X(empty_bytes, 1, "empty slabs")                                                               \
    X(hole_bytes, 1, "given back")

#endif
