"""What no allocator can beat: a bump allocator that never frees (time), and live bytes (memory).

The bump allocator has its memory ready before the clock starts, and a run is shortened until all that it
allocates fits in there.  Its blocks are always new to the CPU's caches, so an allocator that hands out
warm blocks again can be faster than this limit.  Live bytes are the peak of what the program had asked
for at one time, as record.c saw it, and what the process holds without it; a program that does not write
all of that can stay below it.
"""

import functools

from .micro import run_micro
from .model import Result, Row
from .process import BUILD, WORK

BUMP, LIVE = "bump", "live"
READY_MIB = 2048

# Scales below 1 for the bump allocator; 0: it means nothing there (memory is the result, or pauses).
BUMP_SCALE = {"mixed256": 0.3, "mixed8192": 0.3, "pair": 0.5, "pair_mix": 0.1, "batch_fifo": 1,
              "requests": 0.03, "batch_lifo": 1, "batch_random": 1, "replace1k": 0.5, "replace100k": 0.5, "replace1m": 1,
              "realloc_many": 0, "realloc_grow": 0, "realloc_trim": 0, "calloc_small": 0.5, "calloc_large": 0,
              "aligned": 0.2, "medium": 0.02, "large": 0, "threshold": 0, "churn_python": 0.5,
              "churn_gcc": 0.5, "churn_redis": 1, "prodcons": 0.5, "larson": 0.3,
              "threadchurn": 0, "false_active": 1, "false_passive": 1, "fragment": 0, "spike": 0,
              "evict": 0, "bursts": 0,
              "scratch_buffer": 0, "scratch_nodes": 0, "turn": 0,
              "quiet": 0, "pause": 0}
SAME_SIZE = {"tree", "graph"}  # shortened they would be other structures
SCALE_BY_RANGE = {"2k": 0.3, "32k": 0.05, "64k": 0.05}
# Whose live bytes depend on the length: recorded whole.
WHOLE = {"realloc_grow", "realloc_many", "realloc_trim", "tree", "graph", "churn_python", "churn_gcc", "churn_redis",
         "spike", "prodcons", "replace1m", "scratch_buffer", "scratch_nodes",
         "turn", "quiet", "pause", "bursts"}

UNTOUCHED = {"threshold"}  # writes two pages of each block: its live bytes are no memory


def bump_scale(workload, threads):
    kind, _, size = workload.rpartition("_")
    scale = SCALE_BY_RANGE[size] if kind.startswith(("alltoall", "phased")) \
        else BUMP_SCALE.get(workload, 0)
    return scale / threads


def bump_run(workload, threads, row_scale):
    scale = row_scale if workload in SAME_SIZE else bump_scale(workload, threads)
    if not scale:
        return Result("none")
    return run_micro(str(BUILD / "libbump.so"), workload, threads, scale,
                     {"BUMP_READY_MIB": str(READY_MIB)})


def live_kib(file):
    """The largest peak of live bytes that the recorder wrote down."""
    peaks = [int(pair.split("=")[1]) for line in file.read_text().splitlines()
             for pair in line.split() if pair.startswith("peak_bytes=")]
    return max(peaks) / 1024


@functools.cache
def floor_kib():
    """What a process of micro needs when it allocates next to nothing: code, stack, the C library."""
    return run_micro("", "pair", 1, 1e-6).values.get("rss", 0)


def live_run(workload, threads, scale):
    if workload in UNTOUCHED:
        return Result("none")
    file = WORK / "recorded"
    file.unlink(missing_ok=True)
    result = run_micro(str(BUILD / "librecord.so"), workload, threads,
                       scale if workload in WHOLE else min(scale, 0.1), {"RECORD_FILE": str(file)})
    return Result(result.status, {"rss": floor_kib() + live_kib(file)} if result.status == "ok" else {}, result.note)


def run(row: Row, kind):
    """The limit of a micro row: Result("ok") with ns or rss, or a status that says there is none."""
    workload, threads, scale = row.micro
    return bump_run(workload, threads, scale) if kind == BUMP else live_run(workload, threads, scale)
