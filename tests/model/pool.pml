/*
 * Staged acquisition (pool_acquire.c) while memory goes back (pool_release.c): stage 1 takes a warm unit, stage 2 an unused one, stage 3
 * maps a superslab with the pool's lock open.  Meanwhile units are purged and empty superslabs unmapped, the lock open again.
 *
 * Holds: a unit has one owner at most, nobody's content is purged, nobody uses what is unmapped, the count of warm units is right.
 */
/* long: ROUNDS=2 PURGES=2 */
#define USERS 2
#ifndef ROUNDS
#define ROUNDS 1
#define PURGES 3
#endif
#define UNITS 4 /* two superslabs of two units: 0 and 1, 2 and 3 */
#define NONE 255

bool pool_lock;
bool mapped[2];
bool linked[2];    /* lock(pool): in the pool's lists */
bool is_free[UNITS];  /* lock(pool) */
bool is_dirty[UNITS]; /* lock(pool) */
short warm;        /* lock(pool): units free and dirty */
byte content[UNITS];  /* what the owner has written: the proof looks at it */
byte done;

#define LOCK(l) atomic { !l; l = true }
#define UNLOCK(l) l = false
#define USABLE(u) (linked[(u) / 2] && is_free[u])
#define WARM(u) (USABLE(u) && is_dirty[u])
#define EMPTY(s) (linked[s] && is_free[2 * (s)] && is_free[2 * (s) + 1])

/* Of a superslab the lowest unit that fits; which superslab is policy: either. */
inline choose(u)
{
    if
    :: WARM(0) -> u = 0
    :: WARM(1) && !WARM(0) -> u = 1
    :: WARM(2) -> u = 2
    :: WARM(3) && !WARM(2) -> u = 3
    :: else ->
       if
       :: USABLE(0) -> u = 0
       :: USABLE(1) && !USABLE(0) -> u = 1
       :: USABLE(2) -> u = 2
       :: USABLE(3) && !USABLE(2) -> u = 3
       :: else -> u = NONE
       fi
    fi
}

inline take_unit(u)
{
    warm = warm - is_dirty[u];
    is_free[u] = false;
    is_dirty[u] = true
}

inline acquire(u, s)
{
    LOCK(pool_lock);
    atomic { choose(u) };
#ifdef BUG_CHOICE_KEPT
    UNLOCK(pool_lock);
    LOCK(pool_lock);
#endif
    if
    :: u != NONE -> atomic { take_unit(u) }
    :: else
    fi;
    UNLOCK(pool_lock);
    if
    :: u == NONE ->
       atomic { /* the kernel gives a place while there is one */
           if
           :: !mapped[0] -> s = 0; mapped[0] = true
           :: mapped[0] && !mapped[1] -> s = 1; mapped[1] = true
           :: mapped[0] && mapped[1] -> s = NONE
           fi
       };
       if
       :: s != NONE ->
          LOCK(pool_lock);
          d_step {
              u = 2 * s;
              is_free[u] = true;
              is_free[u + 1] = true;
              is_dirty[u] = false;
              is_dirty[u + 1] = false;
              linked[s] = true;
              take_unit(u)
          };
          UNLOCK(pool_lock)
       :: else
       fi
    :: else
    fi;
    s = 0
}

proctype user(byte me)
{
    byte u, s, round;
    do
    :: round == ROUNDS -> break
    :: else ->
       acquire(u, s);
       if
       :: u != NONE ->
          d_step { assert(mapped[u / 2] && content[u] == 0); content[u] = me };
          d_step { assert(mapped[u / 2] && content[u] == me); content[u] = 0 }; /* any time later */
          LOCK(pool_lock);
          d_step { assert(mapped[u / 2] && linked[u / 2]); warm++; is_free[u] = true };
          UNLOCK(pool_lock)
       :: else
       fi;
       u = 0;
       round++
    od;
    done++
}

inline free_empty_superslab(s)
{
    LOCK(pool_lock);
    if
    :: EMPTY(0) -> s = 0
    :: EMPTY(1) -> s = 1
    :: else -> s = NONE
    fi;
    if
    :: s != NONE ->
#ifdef BUG_UNMAPS_LINKED
       UNLOCK(pool_lock);
       LOCK(pool_lock);
#endif
       d_step { linked[s] = false; warm = warm - is_dirty[2 * s] - is_dirty[2 * s + 1] }
    :: else
    fi;
    UNLOCK(pool_lock);
    if
    :: s != NONE ->
       assert(mapped[s] && content[2 * s] == 0 && content[2 * s + 1] == 0);
       mapped[s] = false
    :: else
    fi;
    s = 0
}

inline purge_one(u)
{
    LOCK(pool_lock);
    if
    :: WARM(0) -> u = 0
    :: WARM(1) -> u = 1
    :: WARM(2) -> u = 2
    :: WARM(3) -> u = 3
    :: else -> u = NONE
    fi;
    if
    :: u != NONE ->
       warm--;
#ifndef BUG_PURGES_IN_PLACE
       is_free[u] = false;
#endif
       UNLOCK(pool_lock);
       assert(mapped[u / 2] && content[u] == 0); /* the purge would destroy it */
       LOCK(pool_lock);
       is_free[u] = true;
       if
       :: is_dirty[u] = false
       :: warm++ /* the kernel refused */
       fi
    :: else
    fi;
    UNLOCK(pool_lock);
    u = 0
}

proctype purger()
{
    byte u, s, round;
    do
    :: round == PURGES -> break
    :: free_empty_superslab(s); round++
    :: purge_one(u); round++
    od;
    done++
}

init
{
    byte u;
    atomic { run user(1); run user(2); run purger() };
    done == USERS + 1;
    assert(warm == WARM(0) + WARM(1) + WARM(2) + WARM(3));
    do
    :: u == UNITS -> break
    :: else -> assert(!linked[u / 2] || is_free[u]); u++
    od
}
