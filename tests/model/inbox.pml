/*
 * The remote hand-over (heap.c): hk_heap_hand_over's push by compare-and-swap, drain_inbox_locked by the owner, the owner's taking without
 * the lock for its cache (hk_cache_take_in), and the drain by a pusher that finds the inbox long and the heap's lock free.  Magazines go
 * round, so that a head of the inbox can come back (A-B-A).
 *
 * Holds: a magazine is in one place at a time, none is lost, none comes out twice, and the depot's list stays whole.
 */
#define PUSHERS 2
#define ROUNDS 2
#define MAGAZINES 3
#define NONE 0 /* magazines are 1 to MAGAZINES */

mtype = { SPARE, HELD, INBOX, DEPOT };
mtype place[MAGAZINES + 1] = SPARE; /* where each one is: the code does not know, the proof does */
byte next[MAGAZINES + 1];
byte inbox;
byte depot; /* lock(heap) */
bool heap_lock;
byte pushed, drained;
byte pushers_done;

#if defined(BUG_DRAINS_UNLOCKED) || defined(BUG_POPS_ONE)
#define LOCK(l) skip
#define TRY_LOCK(l) true
#define UNLOCK(l) skip
#else
#define LOCK(l) atomic { !l; l = true }
#define TRY_LOCK(l) atomic { !l; l = true }
#define UNLOCK(l) l = false
#endif

/* Puts one magazine that has come out of the inbox into the depot. */
inline stock(magazine)
{
    assert(place[magazine] == INBOX);
    place[magazine] = DEPOT;
    next[magazine] = depot;
    depot = magazine;
    drained++
}

inline stock_all_locked(got, after)
{
    do
    :: got == NONE -> break
    :: else ->
       after = next[got];
       stock(got);
       got = after
    od
}

inline drain_inbox_locked(got, after)
{
#ifdef BUG_POPS_ONE
    /* By compare-and-swap of the head and its successor, without the lock that seems not to be needed then. */
    do
    :: got = inbox;
       if
       :: got == NONE -> break
       :: else
       fi;
       after = next[got];
       atomic {
           if
           :: inbox == got -> inbox = after; stock(got)
           :: else
           fi
       }
    od;
#else
    atomic { got = inbox; inbox = NONE }; /* the exchange */
    stock_all_locked(got, after);
#endif
    after = NONE
}

/* The owner takes the inbox without the lock, unpacks it, and takes the lock to give the magazines back. */
inline take_in(got, after)
{
    atomic { got = inbox; inbox = NONE }; /* the exchange */
    LOCK(heap_lock);
    stock_all_locked(got, after);
    after = NONE;
    UNLOCK(heap_lock)
}

/* A magazine of the depot serves, gets empty, and is a spare one for any pusher. */
inline use_up_one(got)
{
    got = depot;
    if
    :: got == NONE
    :: else ->
       assert(place[got] == DEPOT);
       depot = next[got];
       place[got] = SPARE;
       got = NONE
    fi
}

proctype pusher()
{
    byte mine, got, after, round;
    do
    :: round == ROUNDS -> break
    :: else ->
       atomic {
           if /* out of the pusher's own heap */
           :: place[1] == SPARE -> mine = 1
           :: place[2] == SPARE -> mine = 2
           :: place[3] == SPARE -> mine = 3
           fi;
           place[mine] = HELD
       };
       got = inbox;
#ifdef BUG_PLAIN_STORE
       next[mine] = got;
       atomic { inbox = mine; place[mine] = INBOX; pushed++ };
#else
       do
       :: next[mine] = got;
          atomic {
              if
              :: inbox == got -> inbox = mine; place[mine] = INBOX; pushed++; break
              :: else -> got = inbox
              fi
          }
       od;
#endif
       got = NONE;
       mine = NONE;
       /* inbox_count is a hint and may say anything: a pusher helps or does not. */
       if
       :: true
       :: TRY_LOCK(heap_lock) ->
          drain_inbox_locked(got, after);
          UNLOCK(heap_lock)
       fi;
       round++
    od;
    pushers_done++
}

proctype owner()
{
    byte got, after;
    bool last;
    do
    :: last -> break
    :: else ->
       last = (pushers_done == PUSHERS);
#if !defined(BUG_DRAINS_UNLOCKED) && !defined(BUG_POPS_ONE)
       if
       :: true
       :: take_in(got, after)
       fi;
#endif
       LOCK(heap_lock);
       drain_inbox_locked(got, after);
       atomic { use_up_one(got) };
       UNLOCK(heap_lock)
    od;
    /* Everybody is done: what was pushed has come out, and lies in the depot once or has been used up. */
    assert(inbox == NONE && pushed == drained);
    do
    :: depot == NONE -> break
    :: else -> atomic { use_up_one(got) }
    od;
    assert(place[1] == SPARE && place[2] == SPARE && place[3] == SPARE)
}

init
{
    atomic { run pusher(); run pusher(); run owner() }
}
