/*
 * Runs of pages (run.c, run_area.c): blocks are cut out of free runs and merged with their neighbours when freed, areas are mapped with
 * the lock open, and meanwhile free runs are purged and areas without a block unmapped, the lock open again.
 *
 * Holds: a page is one block's at most, nobody's content is purged, nobody uses what is unmapped, and the runs of an area lie end to end,
 * no two free ones side by side.
 */
/* long: ROUNDS=1 PURGES=3 */
#define USERS 2
#ifndef ROUNDS
#define ROUNDS 1
#define PURGES 2
#endif
#define PAGES 3 /* of an area; there may be two */
#define COUNT 6
#define NONE 255
#define END(p) ((p) / PAGES * PAGES + PAGES)

bool runs_lock;
bool mapped[2];
bool linked[2];       /* lock(runs): in the list of areas */
byte pages[COUNT];    /* lock(runs): right in the first and the last page of a run; between them what was there before */
bool is_free[COUNT];  /* lock(runs): the same */
bool is_block[COUNT]; /* lock(runs) */
bool dirty[COUNT];    /* lock(runs) */
byte content[COUNT];  /* what the holder has written: the proof looks at it */
byte done;

#define LOCK(l) atomic { !l; l = true }
#define UNLOCK(l) l = false

inline mark(first, count, freed)
{
    pages[first] = count;
    is_free[first] = freed;
#ifdef BUG_ONE_TAG
    skip
#else
    pages[first + count - 1] = count;
    is_free[first + count - 1] = freed
#endif
}

/* Free, together with free neighbours. */
inline put(first, count)
{
    is_block[first] = false;
    if
    :: first + count < END(first) && is_free[first + count] -> count = count + pages[first + count]
    :: else
    fi;
    if
    :: first % PAGES != 0 && is_free[first - 1] ->
       count = count + pages[first - 1];
       first = first - pages[first - 1]
    :: else
    fi;
    mark(first, count, true)
}

/* The first free run of a linked area with so many pages, a dirty one if that is asked for; NONE if there is none.  Looks at every run. */
inline find(at, wanted, only_dirty)
{
    at = 0;
    do
    :: at >= COUNT -> at = NONE; break
    :: at < COUNT && !linked[at / PAGES] -> at = END(at)
    :: at < COUNT && linked[at / PAGES] ->
       assert(pages[at] > 0 && at + pages[at] <= END(at));
       assert(!is_free[at] || at + pages[at] == END(at) || !is_free[at + pages[at]]);
       if
       :: is_free[at] && pages[at] >= wanted &&
          (!only_dirty || dirty[at] || dirty[at + pages[at] - 1] || dirty[at + pages[at] / 2]) ->
          break
       :: else -> at = at + pages[at]
       fi
    od
}

inline cut(at, wanted)
{
    rest_first = at + wanted;
    rest = pages[at] - wanted;
    mark(at, wanted, false);
    is_block[at] = true;
    dirty[at] = true;
    dirty[at + wanted - 1] = true;
    if
    :: rest > 0 -> put(rest_first, rest)
    :: else
    fi
}

inline allocate(at, wanted)
{
    LOCK(runs_lock);
    d_step {
        find(at, wanted, false);
        if
        :: at != NONE -> cut(at, wanted)
        :: else
        fi
    };
    UNLOCK(runs_lock);
    if
    :: at == NONE ->
       atomic { /* the kernel gives a place while there is one */
           if
           :: !mapped[0] -> area = 0; mapped[0] = true
           :: mapped[0] && !mapped[1] -> area = 1; mapped[1] = true
           :: mapped[0] && mapped[1] -> area = NONE
           fi
       };
       if
       :: area != NONE ->
          LOCK(runs_lock);
          d_step {
              linked[area] = true;
              at = area * PAGES;
              dirty[at] = false;
              dirty[at + 1] = false;
              dirty[at + 2] = false;
              mark(at, PAGES, true);
              cut(at, wanted)
          };
          UNLOCK(runs_lock)
       :: else
       fi;
       area = 0
    :: else
    fi
}

inline free_run(at)
{
    LOCK(runs_lock);
    d_step {
        assert(is_block[at]);
        rest_first = at;
        rest = pages[at];
        put(rest_first, rest);
        rest_first = 0;
        rest = 0
    };
    UNLOCK(runs_lock)
}

proctype user(byte me)
{
    byte at, wanted, area, rest_first, rest, round;
    do
    :: round == ROUNDS -> break
    :: else ->
       wanted = me; /* pages */
       allocate(at, wanted);
       d_step {
           rest_first = 0;
           rest = 0
       };
       if
       :: at != NONE ->
          d_step {
              assert(mapped[at / PAGES] && content[at] == 0 && content[at + wanted - 1] == 0);
              content[at] = me;
              content[at + wanted - 1] = me
          };
          d_step { /* any time later */
              assert(mapped[at / PAGES] && is_block[at] && pages[at] == wanted);
              assert(content[at] == me && content[at + wanted - 1] == me);
              content[at] = 0;
              content[at + wanted - 1] = 0
          };
          free_run(at)
       :: else
       fi;
       at = 0;
       round++
    od;
    done++
}

inline purge_one(at, count)
{
    LOCK(runs_lock);
    d_step {
        find(at, 1, true);
        if
        :: at != NONE ->
           count = pages[at];
#ifndef BUG_PURGES_IN_PLACE
           mark(at, count, false)
#endif
        :: else -> count = 0
        fi
    };
    UNLOCK(runs_lock);
    if
    :: at != NONE ->
       d_step { /* the purge would destroy it */
           assert(mapped[at / PAGES]);
           assert(content[at] == 0 && content[at + count - 1] == 0 && content[at + count / 2] == 0)
       };
       LOCK(runs_lock);
       if
       :: true ->
          d_step {
              dirty[at] = false;
              dirty[at + count - 1] = false;
              dirty[at + count / 2] = false
          }
       :: true /* the kernel refused */
       fi;
       d_step { put(at, count) };
       UNLOCK(runs_lock)
    :: else
    fi;
    at = 0;
    count = 0
}

#define IS_EMPTY(a) (linked[a] && is_free[(a) * PAGES] && pages[(a) * PAGES] == PAGES)

inline unmap_empty_area(area)
{
    LOCK(runs_lock);
    if
    :: IS_EMPTY(0) -> area = 0
    :: !IS_EMPTY(0) && IS_EMPTY(1) -> area = 1
    :: else -> area = NONE
    fi;
#ifndef BUG_UNMAPS_LINKED
    if
    :: area != NONE -> linked[area] = false
    :: else
    fi;
#endif
    UNLOCK(runs_lock);
    if
    :: area != NONE ->
       d_step {
           assert(mapped[area] && content[area * PAGES] == 0);
           assert(content[area * PAGES + 1] == 0 && content[area * PAGES + 2] == 0);
           linked[area] = false;
           mapped[area] = false
       }
    :: else
    fi;
    area = 0
}

proctype purger()
{
    byte at, count, area, round;
    do
    :: round == PURGES -> break
    :: purge_one(at, count); round++
    :: unmap_empty_area(area); round++
    od;
    done++
}

init
{
    byte at;
    atomic { run user(1); run user(2); run purger() };
    done == USERS + 1;
    d_step { find(at, PAGES + 1, false) } /* looks at every run */
}
