/*
 * The watch (cache_watch.c): a thread that knows of much to give back begins it and summons the others, by a store into the variable that
 * their fast paths read.  A thread that comes by sets its own trap anew, or ends the watch and goes without one.  A thread's own store may
 * stay in its store buffer for a while; a sequentially consistent one does not.
 *
 * Holds: as long as there is a watch, each thread is trapped, unless it is just coming by.
 */
#define THREADS 2
#define VISITS 2

bool watch = true;
bool trapped[THREADS] = true;
bool buffered[THREADS]; /* "not trapped", on its way to memory */
byte done;

#define FLUSHED(t) !buffered[t]

#ifdef BUG_STORES_RELAXED
#define STORED(t) skip
#else
#define STORED(t) FLUSHED(t)
#endif

/* hk_cache_watch_note, by a thread that nobody else summons. */
proctype Begin()
{
    bool first;
    byte t;
    byte times;
    for (times : 1 .. VISITS) {
        atomic { first = !watch; watch = true }; /* the compare-and-swap */
        if
        :: first ->
           for (t : 0 .. THREADS - 1) {
               trapped[t] = true
           }
        :: else
        fi
    }
    done++
}

/* hk_cache_watch */
proctype Visit(byte me)
{
    bool since;
    byte times;
    for (times : 1 .. VISITS) {
        since = watch;
        if
        :: since -> watch = false; since = watch /* nobody knew of anything for a while */
        :: true
        fi;
#ifdef BUG_LOOKS_FIRST
        if
        :: !since -> since = watch; FLUSHED(me); if :: !since -> buffered[me] = true :: else fi
        :: else
        fi;
#else
        if
        :: !since -> FLUSHED(me); buffered[me] = true; STORED(me); since = watch
        :: else
        fi;
#endif
        if
        :: since -> FLUSHED(me); trapped[me] = true
        :: else
        fi
    }
    done++
}

/* The store buffers' ways to memory. */
active proctype Buffers()
{
end:
    do
    :: atomic { buffered[0] -> buffered[0] = false; trapped[0] = false }
    :: atomic { buffered[1] -> buffered[1] = false; trapped[1] = false }
    od
}

init {
    byte t;
    atomic {
        run Begin();
        for (t : 0 .. THREADS - 1) {
            run Visit(t)
        }
    }
    done == THREADS + 1 && !buffered[0] && !buffered[1];
    for (t : 0 .. THREADS - 1) {
        assert(!watch || trapped[t])
    }
}
