"""Results into figures: medians with intervals, ratios of hakmem to the others, means, losses."""

import math
from dataclasses import dataclass

from . import stats
from .limits import BUMP, LIVE
from .model import MEMORY, MICRO_GROUPS, REAL_GROUPS, TIME
from .store import measures_of

MINE, SYSTEM = "hakmem", "glibc"
EVEN = 1.005  # what differs by less is even, however sure the figures are
FEW = 5  # rounds
MENDABLE = 1.05  # what is behind by more counts, be it sure or not
AT_END = {"after", "last", "fallen_mib"}  # measures of RSS when the work is done, or freed a moment ago


@dataclass
class Cell:
    """One allocator's figure in one row: its median and interval, or what went wrong."""

    median: object = None
    low: float = 0
    high: float = 0
    failed: str = ""


@dataclass
class Ratio:
    """hakmem's figure over another's; below 1, hakmem is better."""

    row: str
    group: str
    measure: object
    against: str
    value: float
    low: float
    high: float

    @property
    def lost(self):
        return self.low > EVEN

    @property
    def won(self):
        return self.high < 1 / EVEN

    @property
    def behind(self):
        return self.value > MENDABLE

    @property
    def at_end(self):
        return self.measure.key in AT_END


@dataclass
class Behind:
    """What is behind the best other in one way, the worst first."""

    title: str
    about: str
    ratios: list

    @property
    def count(self):
        return f"{len(self.ratios)} figure{'s' * (len(self.ratios) != 1)}"


class Analysis:
    def __init__(self, head, runs):
        self.head = head
        self.names = list(head["allocators"])
        self.rows = head["rows"]
        self.results = {}
        for run in runs:
            self.results.setdefault((run.row, run.allocator), []).append(run)
        self.groups = [g for g in dict.fromkeys(r["group"] for r in self.rows)]

    @property
    def warning(self):
        """What whoever reads the figures has to know about them, or ""."""
        rounds = self.head["rounds_done"]
        return f"{rounds} rounds, which is few: the intervals say how little is known" if rounds < FEW else ""

    @property
    def others(self):
        return [n for n in self.names if n != MINE]

    def runs(self, row, name):
        return self.results.get((row["name"], name), [])

    def cell(self, row, name, measure):
        runs = self.runs(row, name)
        bad = [r.result.status for r in runs if r.result.status != "ok"]
        values = [r.result.values.get(measure.key) for r in runs if r.result.status == "ok"]
        values = [v for v in values if v is not None]
        if bad or not values:
            return Cell(failed=bad[0] if bad else "not measured")
        if isinstance(values[0], str):
            return Cell(values[0])
        return Cell(stats.median(values), *stats.interval(values))

    def by_round(self, row, name, key):
        return {r.round: r.result.values[key] for r in self.runs(row, name)
                if r.result.status == "ok" and isinstance(r.result.values.get(key), (int, float))}

    def best_other(self, row, measure):
        """The other allocator with the lowest median, or ""."""
        cells = [(self.cell(row, n, measure), n) for n in self.others]
        numbers = [(c.median, n) for c, n in cells if not c.failed and not isinstance(c.median, str)]
        return min(numbers)[1] if numbers else ""

    def ratio(self, row, measure, against):
        """Round by round, so that what the machine did meanwhile cancels; None when one failed."""
        if not against or any(self.cell(row, n, measure).failed for n in (MINE, against)):
            return None
        mine, theirs = (self.by_round(row, n, measure.key) for n in (MINE, against))
        values = [mine[r] / theirs[r] for r in mine.keys() & theirs.keys() if theirs[r] > 0 and mine[r] > 0]
        if not values:
            return None
        # Of one value nobody knows how far off it is.
        low, high = stats.interval(values) if len(values) > 1 else (0, math.inf)
        return Ratio(row["name"], row["group"], measure, against, stats.median(values), low, high)

    def unmeasured(self):
        """The rows without a run under some allocator: the comparison was interrupted before."""
        return [row["name"] for row in self.rows if not all(self.runs(row, name) for name in self.names)]

    def headlines(self, kind, groups):
        """(row, measure) of the figures that count in the means."""
        return [(row, m) for row in self.rows if row["group"] in groups
                for m in measures_of(row) if m.kind == kind and m.headline]

    def ratios_to_best(self, kind, groups):
        found = [self.ratio(row, m, self.best_other(row, m)) for row, m in self.headlines(kind, groups)]
        return sorted((r for r in found if r), key=lambda r: -r.value)

    def mean_against(self, kind, groups, name):
        """Geometric mean of hakmem / name over the rows where both ran, and how many these are."""
        found = [self.ratio(row, m, name) for row, m in self.headlines(kind, groups)]
        values = [r.value for r in found if r]
        return (stats.geometric_mean(values), len(values)) if values else (None, 0)

    def means(self):
        """[(title, kind, {name or "best": (mean, rows)})] for micro and real rows."""
        table = []
        for title, groups in (("small benchmarks", MICRO_GROUPS), ("programs and servers", REAL_GROUPS)):
            for kind in (TIME, MEMORY):
                best = [r.value for r in self.ratios_to_best(kind, groups)]
                line = {n: self.mean_against(kind, groups, n) for n in self.others}
                line["best"] = (stats.geometric_mean(best), len(best)) if best else (None, 0)
                if best:
                    table.append((title, kind, line))
        return table

    def behind(self):
        """What is behind the best other, in three lists that share nothing; each figure of time and memory counts."""
        found = [self.ratio(row, m, self.best_other(row, m)) for row in self.rows
                 for m in measures_of(row) if m.kind in (TIME, MEMORY)]
        found = sorted((r for r in found if r), key=lambda r: -r.value)
        work = [r for r in found if not r.at_end]
        return [Behind("Losses", f"the whole interval of the ratio to the best other allocator is above {EVEN}",
                       [r for r in work if r.lost]),
                Behind("Behind by more than 5 %, not certain", "by the median, and the interval reaches back",
                       [r for r in work if r.behind and not r.lost]),
                Behind("RSS after the work, behind by more than 5 %", "by the median, whatever the interval",
                       [r for r in found if r.at_end and r.behind])]

    def losses(self):
        return self.behind()[0].ratios

    def failures(self):
        """(allocator, row, how many of how many runs, what, note), hakmem's first."""
        lines = []
        for row in self.rows:
            for name in self.names:
                runs = self.runs(row, name)
                bad = [r.result for r in runs if r.result.status != "ok"]
                if bad:
                    what = ", ".join(sorted({r.status for r in bad}))
                    note = next((r.note for r in bad if r.note), "")
                    lines.append((name, row["name"], len(bad), len(runs), what, note))
        return sorted(lines, key=lambda line: line[0] != MINE)

    def limits(self):
        """(row, kind, hakmem's median, the limit, their ratio) of the micro rows."""
        lines = []
        for row in self.rows:
            if row["group"] not in MICRO_GROUPS:
                continue
            for kind, name, key in ((TIME, BUMP, "ns"), (MEMORY, LIVE, "rss")):
                measure = next((m for m in measures_of(row) if m.key == key), None)
                limit = next((r.result.values.get(key) for r in self.runs(row, name)
                              if r.result.status == "ok"), None)
                cell = self.cell(row, MINE, measure) if measure else Cell(failed="none")
                if limit and not cell.failed:
                    lines.append((row, kind, cell.median, limit, cell.median / limit))
        return lines

    def limit_summary(self):
        """How close hakmem is to the limits over all rows, in one sentence; "" without limits."""
        parts = []
        for kind, limit in ((TIME, "the bump allocator's time"), (MEMORY, "the live bytes")):
            ratios = [ratio for _, k, _, _, ratio in self.limits() if k == kind]
            if ratios:
                parts.append(f"{stats.geometric_mean(ratios):.2f} times {limit} ({len(ratios)} rows)")
        return f"HAKMEM, geometric means: {', '.join(parts)}." if parts else ""


def agreement(a, b):
    """Of the figures that two comparisons share, how many have intervals that overlap; those that do not."""
    rows = {row["name"]: row for row in b.rows}
    apart, shared = [], 0
    for row in a.rows:
        for measure in measures_of(row) if row["name"] in rows else []:
            for name in set(a.names) & set(b.names):
                x, y = a.cell(row, name, measure), b.cell(rows[row["name"]], name, measure)
                if x.failed or y.failed or isinstance(x.median, str) or isinstance(y.median, str):
                    continue
                shared += 1
                if not stats.overlap((x.low, x.high), (y.low, y.high), EVEN):
                    apart.append((row["name"], measure, name, x, y))
    return shared, apart
