/*
 * atomic: C11 atomics with the memory order in the operation's name.
 *
 * Every shared access without a lock goes through these, but for the live bits on x86-64 (live.h),
 * so that a reader sees the order of each where it is used.  A comment beside an acquire or a
 * release says what it pairs with; one beside a relaxed access says why relaxed is enough.
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

#define hk_cas_seq_cst(p, expected, v)                                                             \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_seq_cst,            \
                                            memory_order_seq_cst)

/* Keeps the compiler from moving writes across it, so that a signal handler of the same thread sees
 * them in the order written.  It makes no instruction. */
#define hk_fence_signal() atomic_signal_fence(memory_order_seq_cst)

#endif
