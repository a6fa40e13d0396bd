/*
 * The gate and the parking of heaps (gate.c, thread.c, heaps.c): threads attach to a heap, take slow paths, end and park their heap,
 * and others come after them, while one or two threads fork.
 *
 * Holds: when a forking thread has seen all words at zero nobody is inside, the list of caches and the counts of the heaps agree, and no
 * thread is on its way in; every thread gets on (no deadlock), also one whose slow path finds the gate closed.
 */
/* also: FORKERS=2 THREADS=2 LIVES=1 HEAPS=1 */
/* long: FORKERS=1 THREADS=3 LIVES=1 HEAPS=2 */
/* long: FORKERS=2 THREADS=2 LIVES=2 HEAPS=2 */
/* long: FORKERS=1 THREADS=3 LIVES=2 HEAPS=2 */
#ifndef FORKERS
#define THREADS 2
#define LIVES 2 /* threads that come one after the other: a heap is parked and taken again */
#define HEAPS 1 /* fewer than threads, so that one is shared */
#define FORKERS 1
#endif

bool caches_lock;
byte closed;
byte strangers;
bool linked[3]; /* lock(caches): the thread's cache is in the list */
byte busy[THREADS];
byte threads[2];     /* lock(caches): of each heap */
byte inside;         /* threads that are changing shared state just now: the proof looks at it */

#define LOCK(l) atomic { !l; l = true }
#define UNLOCK(l) l = false

/* Shared state is changed. */
#define WORK                                                                                       \
    inside++;                                                                                      \
    inside--

/* One that has found the gate open raises its word and looks again; one that has found it closed is not busy even for a moment. */
inline enter_stranger(ok)
{
    if
    :: closed == 0 ->
       strangers++;
       if
       :: closed == 0 -> ok = true
       :: else -> ok = false; strangers--
       fi
    :: else -> ok = false
    fi
}

inline enter(me, ok)
{
    if
    :: closed == 0 ->
       busy[me] = 1;
#ifdef BUG_LOOKS_FIRST_ONLY
       ok = true
#else
       if
       :: closed == 0 -> ok = true
       :: else -> ok = false; busy[me] = 0
       fi
#endif
    :: else -> ok = false
    fi
}

inline attach(me, heap, ok)
{
    enter_stranger(ok);
    if
    :: ok ->
       WORK; /* the cache's memory */
       LOCK(caches_lock);
       /* The heap with the fewest threads: a parked one if there is one. */
       if
       :: HEAPS == 1 || threads[0] <= threads[1] -> heap = 0
       :: else -> heap = 1
       fi;
       counted = threads[heap];
       threads[heap] = counted + 1;
       linked[me] = true;
       UNLOCK(caches_lock);
       strangers--
    :: else
    fi
}

inline end_thread(me, heap, ok)
{
    do
    :: enter(me, ok);
       if
       :: ok -> break
       :: else
       fi
    od;
    WORK; /* magazines are dissolved */
#ifndef BUG_NO_STRANGER
    strangers++;
#endif
#ifndef BUG_PARKS_UNLOCKED
    LOCK(caches_lock);
#endif
    counted = threads[heap];
    threads[heap] = counted - 1;
#ifdef BUG_PARKS_UNLOCKED
    LOCK(caches_lock);
#endif
    linked[me] = false;
    UNLOCK(caches_lock);
    busy[me] = 0;
    WORK; /* the cache's memory goes back */
#ifndef BUG_NO_STRANGER
    strangers--
#endif
}

proctype thread(byte me)
{
    byte heap = 0;
    byte counted = 0;
    byte life = 0;
    bool ok = false;
    do
    :: life == LIVES -> break
    :: else ->
       attach(me, heap, ok);
       if
       :: ok ->
          /* A slow path; with the gate closed the refuge serves, and nothing shared is touched. */
          enter(me, ok);
          if
          :: ok -> WORK; busy[me] = 0
          :: else
          fi;
          end_thread(me, heap, ok)
       :: else /* the refuge served: as if this life had done nothing */
       fi;
       life++
    od
}

/* others_are_busy */
inline look(others)
{
    others = false;
#ifdef BUG_STRANGERS_FIRST
    others = (strangers != 0);
#endif
    LOCK(caches_lock);
    i = 0;
    do
    :: i == THREADS -> break
    :: else ->
       others = others || (linked[i] && busy[i] != 0);
       i++
    od;
    UNLOCK(caches_lock);
#ifndef BUG_STRANGERS_FIRST
    others = others || (strangers != 0)
#endif
}

proctype forker()
{
    byte i = 0;
    bool others = true;
    closed++;
    do
    :: look(others);
       if
       :: !others -> break
       :: else
       fi
    od;
    skip;
    d_step { /* the child's copy is taken now */
        assert(inside == 0);
#if FORKERS == 1
        assert(!caches_lock);
#endif
        assert(threads[0] + threads[1] == linked[0] + linked[1] + linked[2])
    };
    closed--
}

init
{
    byte i = 0;
    atomic {
        do
        :: i == THREADS -> break
        :: else -> run thread(i); i++
        od;
        i = 0;
        do
        :: i == FORKERS -> break
        :: else -> run forker(); i++
        od
    }
}
