/*
 * The order of locks (lock.h): three threads do whatever the lock table allows, for ever, and never stand still.
 *
 * The first variant is the deadlock of the earlier system: an allocating thread held the pool's lock and took the registry's, to enter
 * a superslab, and a freeing one held the registry's and took the pool's.  Now the registry has no lock.
 */
#define THREADS 3

bool caches, heap[2], pool, runs, large, meta;
#if defined(BUG_REGISTRY_UNDER_POOL)
bool registry;
#endif

#define LOCK(l) atomic { !l; l = true }
#define TRY_LOCK(l) atomic { !l; l = true }
#define UNLOCK(l) l = false
#define WITH(l) LOCK(l); UNLOCK(l)

proctype thread(byte mine)
{
    byte other = 1 - mine;
    do
    :: LOCK(caches); /* a thread starts: its heap needs metadata */
       WITH(meta);
       UNLOCK(caches)
    :: LOCK(caches); /* a report or check walks the first-class heaps */
       WITH(heap[other]);
       WITH(pool);
       UNLOCK(caches)
    :: LOCK(heap[mine]); /* a magazine is loaded: from the depot, or a slab of the pool with the heap's lock open */
       WITH(meta);
       if
       :: true
       :: UNLOCK(heap[mine]);
          WITH(pool);
          WITH(meta);
          WITH(pool);
          LOCK(heap[mine])
       fi;
       UNLOCK(heap[mine])
    :: LOCK(heap[mine]); /* magazines are dissolved, and slabs go back */
       WITH(pool);
       WITH(meta);
#ifdef BUG_HELPS_INSIDE
       LOCK(heap[other]);
       UNLOCK(heap[other]);
#endif
       UNLOCK(heap[mine]);
       if /* a helping hand: passes by a heap whose lock is held */
       :: true
       :: TRY_LOCK(heap[other]);
          WITH(pool);
          UNLOCK(heap[other])
       fi
    :: WITH(large); /* a kept mapping; its descriptor goes back afterwards */
       WITH(meta)
    :: WITH(runs); /* a run of pages, then its place in a first-class heap's list; areas are mapped and purged with the lock open */
       WITH(heap[mine]);
       WITH(runs)
    :: LOCK(heap[mine]); /* a block of a cold class: taken from, or put into, its slab under the heap's lock, as above */
       WITH(pool);
       UNLOCK(heap[mine])
#ifdef BUG_REGISTRY_UNDER_POOL
    :: LOCK(pool);
       WITH(registry);
       UNLOCK(pool)
    :: LOCK(registry);
       WITH(pool);
       UNLOCK(registry)
#endif
    od
}

init
{
    atomic { run thread(0); run thread(1); run thread(1) }
}
