/*
 * atomic: C11 atomics with the memory order in the operation's name.
 *
 * Every shared access in HAKMEM goes through these, so that the order of each one is read where it
 * is used.  An acquire or a release says in a comment what it pairs with; a relaxed one says why
 * that is enough.
 */
#ifndef HK_ATOMIC_H
#define HK_ATOMIC_H

#include <stdatomic.h>

#define hk_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define hk_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define hk_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
#define hk_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define hk_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define hk_store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define hk_exchange_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define hk_exchange_seq_cst(p, v) atomic_exchange_explicit((p), (v), memory_order_seq_cst)
#define hk_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define hk_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define hk_add_seq_cst(p, v) atomic_fetch_add_explicit((p), (v), memory_order_seq_cst)
#define hk_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define hk_sub_acq_rel(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define hk_sub_seq_cst(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_seq_cst)
#define hk_cas_acq_rel(p, expected, v)                                                             \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel,            \
                                            memory_order_acquire)

/* A signal handler of the same thread sees what is written before it in its order; no
 * instruction. */
#define hk_fence_signal() atomic_signal_fence(memory_order_seq_cst)

#endif
