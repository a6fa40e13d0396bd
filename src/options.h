/*
 * options: what HAKMEM_<NAME> in the environment sets.  One table; adding an option is one row.
 *
 * Read once, by the library's constructor; const afterwards.
 * Programs that run with raised privileges (AT_SECURE) ignore the environment and are hardened at
 * level 1.  They take what is meant for HAKMEM out of the environment, so that the programs they
 * start do not obey it either.  An unknown name or a bad value gets one line on stderr, and the
 * default stays.  An empty text counts as not set.
 */
#ifndef HK_OPTIONS_H
#define HK_OPTIONS_H

#include "base.h"

enum {
    HK_OPTION_TEXT_BYTES = 4096, /* the longest path, with its final 0 */
    HK_DECAY_MS = 250,           /* the epoch of the working-set estimate, by default */
};

/* An amount of memory: bytes, or a share of what there is if percent is not 0. */
typedef struct hk_amount {
    uint64_t bytes;
    uint64_t percent;
} hk_amount_t;

#define HK_AMOUNT_NONE                                                                             \
    {                                                                                              \
        0, 0                                                                                       \
    }

/* X(number, amount or text, field, NAME, default, least, most, what it does) */
#define HK_OPTION_TABLE(X)                                                                         \
    X(number, stats, "STATS", 0, 0, 1, "print the report when the program ends")                   \
    X(text, stats_file, "STATS_FILE", NULL, 0, 0,                                                  \
      "where the report goes instead of stderr; %p becomes the process id")                        \
    X(number, stats_json, "STATS_JSON", 0, 0, 1, "print the report as JSON")                       \
    X(amount, limit, "LIMIT", HK_AMOUNT_NONE, 0, 0,                                                \
      "what HAKMEM may commit: bytes, or a percentage of the cgroup's memory limit; then ENOMEM")  \
    X(amount, soft_limit, "SOFT_LIMIT", HK_AMOUNT_NONE, 0, 0,                                      \
      "the same, but from there on memory is reclaimed and the program's callback called")         \
    X(number, housekeeper, "HOUSEKEEPER", 0, 0, 1,                                                 \
      "a thread in the background gives memory back while the program is idle")                    \
    X(number, decay, "DECAY", HK_DECAY_MS, 10, 3600000,                                            \
      "how many milliseconds memory lies unused before it goes back to the system")                \
    X(number, huge, "HUGE", 1, 0, 2,                                                               \
      "huge pages once there are 64 MiB of slabs: 0: never; 1: for dense ones; 2: new ones too")   \
    X(number, tiny_ss_shared, "TINY_SS_SHARED", 1, 1, 2,                                           \
      "1: a size class at its cap reclaims, and then the cap is raised; 2: strict, it gets "       \
      "ENOMEM")                                                                                    \
    X(amount, cap, "CAP", HK_AMOUNT_NONE, 0, 0,                                                    \
      "what the slabs of one size class may hold; in normal mode where reclaiming begins")         \
    X(number, harden, "HARDEN", 0, 0, 2,                                                           \
      "1: canaries, quarantine, random placement, guard pages; 2: the same, whole and stricter")   \
    X(number, guard_sample, "GUARD_SAMPLE", 0, 0, 1u << 30,                                        \
      "one block in about so many lies between pages without access; 0: none")

typedef struct hk_options {
#define HK_OPTION_TYPE_number uint64_t
#define HK_OPTION_TYPE_text const char *
#define HK_OPTION_TYPE_amount hk_amount_t
#define X(type, field, name, standard, least, most, doc) HK_OPTION_TYPE_##type field;
    HK_OPTION_TABLE(X)
#undef X
} hk_options_t;

extern hk_options_t hk_options;

/* Reads the environment; in a program with raised privileges, removes what is meant for HAKMEM.
 * Then calls prepare (or nothing, if it is NULL) with what was read, and only then is that in
 * force: other threads may be at work already. */
void hk_options_read(char **environment, void (*prepare)(const hk_options_t *read));

#endif
