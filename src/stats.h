/*
 * stats: the figures of hak_stats_t as a table: name, whether it is an amount of bytes, what it means.
 *
 * It makes the text report and the JSON.  The structure itself is part of the public header.
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
    X(pool_warm_bytes, 1, "empty slabs kept in the shared pool")                                   \
    X(run_warm_bytes, 1, "free runs of pages kept for reuse")                                      \
    X(large_cached_bytes, 1, "direct mappings kept for reuse")                                     \
    X(metadata_bytes, 1, "the allocator's own data")                                               \
    X(purged_bytes, 1, "given back to the system so far")                                          \
    X(superslabs, 0, "superslabs mapped")                                                          \
    X(heaps, 0, "heaps")                                                                           \
    X(remote_magazines, 0, "magazines handed to another heap")

#endif
