"""What is measured and what came out: measures, rows, results, allocators."""

from dataclasses import dataclass, field

TIME, MEMORY, INFO = "time", "memory", "info"


class Refused(Exception):
    """What was asked for cannot be done; the text says why, in one line."""


@dataclass(frozen=True)
class Measure:
    """One figure of a row; lower is better.  A headline counts in the geometric means."""

    key: str
    unit: str
    kind: str
    headline: bool = False


@dataclass(frozen=True)
class Allocator:
    name: str
    library: str  # what to preload; "" for the C library's own


@dataclass
class Result:
    """One run: status "ok" or what went wrong, and what was measured."""

    status: str
    values: dict = field(default_factory=dict)
    note: str = ""
    series: list = field(default_factory=list)  # resident size over time: [ms, KiB]


@dataclass
class Row:
    """`run(allocator)` makes one Result.  `group` is what it is shown under."""

    name: str
    group: str
    measures: list
    run: object
    rounds: int = 0  # at most so many; 0: as many as the comparison has
    seconds: float = 1.0  # a guess at one run's time, until it is known
    about: str = ""


SMALL, SIZES, MIXES, STRUCTURES = "small blocks", "larger blocks", "recorded mixes", "structures"
PASSING, THREADS, LONGRUN = "passing blocks", "threads", "long run"
FIELD, PROGRAMS, SERVERS = "field", "programs", "servers"
MICRO_GROUPS = [SMALL, SIZES, MIXES, STRUCTURES, PASSING, THREADS, LONGRUN]
REAL_GROUPS = [PROGRAMS, SERVERS]
