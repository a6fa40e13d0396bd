"""Rows of bench/src/micro: workloads that spend nearly all their time in malloc and free.

The time of one thread is CPU time, which others on the machine hardly touch; that of several threads is
elapsed time, because they may wait for each other.
"""

from . import process
from .model import (INFO, LONGRUN, MEMORY, MIXES, PASSING, SIZES, SMALL, STRUCTURES, THREADS, TIME,
                    Measure, Result, Row)
from .process import BUILD, WORK, clean_env, finish, start

QUICK, NORMAL, FULL = 0, 1, 2
TIMEOUT = 60

NS = Measure("ns", "ns/op", TIME, True)
RSS = Measure("rss", "KiB", MEMORY, True)
AFTER = Measure("after", "KiB after", MEMORY)
BASE = [NS, RSS, AFTER]
WALK = BASE + [Measure("build_ns", "ns/node built", TIME), Measure("walk_ns", "ns/node walked", TIME)]
FRAGMENT = BASE + [Measure("resident_mib", "MiB at end", MEMORY), Measure("live_mib", "MiB live", INFO)]
SPIKE = [Measure("ns", "ns/op", INFO), RSS, AFTER, Measure("fallen_mib", "MiB after fall", MEMORY),
         Measure("idle_mib", "MiB after idling", MEMORY, True), Measure("mean", "KiB mean", MEMORY)]
BURSTS = [Measure("cpu_ns", "ns cpu/op", TIME), RSS, AFTER, Measure("calm_mib", "MiB in calm", MEMORY, True),
          Measure("mean", "KiB mean", MEMORY)]
QUIET = [measure for measure in SPIKE if measure.key != "mean"]
PAUSE = [Measure("ns", "ns/op", INFO), Measure("worst_us", "us worst", TIME, True),
         Measure("late_us", "us but 1 in 100,000", TIME), RSS, AFTER]

# Workload, threads, group, the smallest extent that has it, and the scale in the quick one.
TABLE = [
    ("mixed256", 1, SMALL, QUICK, 1), ("mixed256", 2, SMALL, NORMAL, 1),
    ("mixed8192", 1, SMALL, QUICK, 1), ("mixed8192", 2, SMALL, QUICK, 1),
    ("mixed8192", 4, SMALL, FULL, 1), ("mixed8192", 16, SMALL, FULL, 1),
    ("pair", 1, SMALL, QUICK, 0.5), ("pair_mix", 1, SMALL, NORMAL, 1),
    ("requests", 1, SMALL, QUICK, 0.5), ("requests", 2, SMALL, FULL, 1),
    ("batch_fifo", 1, SMALL, NORMAL, 1), ("batch_lifo", 1, SMALL, NORMAL, 1),
    ("batch_random", 1, SMALL, QUICK, 0.5), ("batch_random", 2, SMALL, FULL, 1),
    ("replace1k", 1, SMALL, NORMAL, 1), ("replace1k", 2, SMALL, FULL, 1),
    ("replace100k", 1, SMALL, NORMAL, 1), ("replace1m", 1, SMALL, QUICK, 0.3),
    ("realloc_many", 1, SIZES, NORMAL, 1), ("realloc_grow", 1, SIZES, QUICK, 0.3),
    ("realloc_trim", 1, SIZES, NORMAL, 1),
    ("calloc_small", 1, SIZES, QUICK, 0.5), ("calloc_large", 1, SIZES, NORMAL, 1),
    ("aligned", 1, SIZES, QUICK, 0.4), ("medium", 1, SIZES, QUICK, 0.5),
    ("medium", 2, SIZES, FULL, 1), ("large", 1, SIZES, QUICK, 0.25), ("large", 2, SIZES, FULL, 1),
    ("threshold", 1, SIZES, QUICK, 0.3),
    ("churn_python", 1, MIXES, QUICK, 0.5), ("churn_gcc", 1, MIXES, QUICK, 0.5),
    ("churn_redis", 1, MIXES, NORMAL, 1), ("churn_python", 2, MIXES, FULL, 1),
    ("churn_gcc", 2, MIXES, FULL, 1), ("churn_redis", 2, MIXES, FULL, 1),
    ("tree", 1, STRUCTURES, QUICK, 0.5), ("graph", 1, STRUCTURES, QUICK, 0.5),
    ("index", 1, STRUCTURES, NORMAL, 1), ("tree", 2, STRUCTURES, FULL, 1), ("graph", 2, STRUCTURES, FULL, 1),
    ("prodcons", 2, PASSING, QUICK, 0.5), ("prodcons", 4, PASSING, FULL, 1),
    ("prodcons", 16, PASSING, FULL, 1),
] + [
    (f"{kind}{percent}_{size}", 2, PASSING, extent, 0.15 if size == "64k" else 0.5)
    for kind in ("alltoall", "phased") for percent in (0, 50, 90)
    for size in ("2k", "32k", "64k")
    for extent in [QUICK if (kind, percent, size) in {("alltoall", 90, "2k"), ("alltoall", 50, "32k"),
                                                      ("phased", 50, "2k"), ("phased", 90, "64k")}
                   else NORMAL if percent == 50 or size == "2k" else FULL]
] + [
    ("alltoall50_2k", 4, PASSING, FULL, 1), ("alltoall50_2k", 16, PASSING, FULL, 1),
    ("alltoall90_2k", 4, PASSING, FULL, 1), ("alltoall90_2k", 16, PASSING, FULL, 1),
    ("larson", 1, THREADS, NORMAL, 1), ("larson", 2, THREADS, QUICK, 0.5),
    ("larson", 4, THREADS, FULL, 1), ("larson", 16, THREADS, FULL, 1),
    ("threadchurn", 1, THREADS, QUICK, 0.3), ("threadchurn", 4, THREADS, FULL, 1),
    ("false_active", 2, THREADS, NORMAL, 1), ("false_passive", 2, THREADS, NORMAL, 1),
    ("fragment", 1, LONGRUN, QUICK, 0.5), ("evict", 1, LONGRUN, NORMAL, 1),
    ("bursts", 2, LONGRUN, NORMAL, 1), ("spike", 1, LONGRUN, QUICK, 0.2),
    ("scratch_buffer", 1, LONGRUN, NORMAL, 1), ("scratch_nodes", 1, LONGRUN, NORMAL, 1),
    ("turn", 1, LONGRUN, NORMAL, 1),
    ("quiet", 1, LONGRUN, NORMAL, 1), ("pause", 1, LONGRUN, NORMAL, 1),
]
MEASURES = {"tree": WALK, "graph": WALK, "index": WALK, "fragment": FRAGMENT, "evict": FRAGMENT,
            "bursts": BURSTS, "spike": SPIKE,
            "quiet": QUIET, "pause": PAUSE}


def run_micro(library, workload, threads, scale, env=None):
    """One run; the Result with the figures of micro's line."""
    cpus = process.pinned if threads == 1 else None
    argv = [str(BUILD / "micro"), workload, str(threads), str(scale)]
    result = finish(WORK, start(WORK, library, argv, clean_env(env), cpus), TIMEOUT)
    if result.status == "ok":
        line = (WORK / "stdout").read_text().split()
        pairs = {key: float(value) for key, value in (p.split("=") for p in line)}
        if "ns_per_op" not in pairs:
            return Result("wrong output", result.values)
        time = {"elapsed_ns": pairs.pop("ns_per_op"), "cpu_ns": pairs.pop("cpu_ns_per_op")}
        time["ns"] = time["cpu_ns" if threads == 1 else "elapsed_ns"]
        result.values |= time | {"rss": int(pairs.pop("peak_rss_kib")),
                          "after": int(pairs.pop("after_rss_kib"))} | pairs
    return result


def micro_row(workload, threads, group, scale):
    def run(allocator):
        return run_micro(allocator.library, workload, threads, scale)

    row = Row(f"{workload}/{threads}", group, MEASURES.get(workload, BASE), run, seconds=0.5)
    row.micro = workload, threads, scale
    return row


def rows(extent):
    return [micro_row(w, t, group, scale if extent == QUICK else 1)
            for w, t, group, level, scale in TABLE if level <= extent]
