"""Runs the rows round by round, and can go on where it stopped.

A round has every row once under every allocator: rows in random order, and the allocators of a row
one after the other in random order, so that what the machine does meanwhile meets all alike.  From the
fourth on a round begins only if the time allows one as long as the last; whatever the round, when the time
is up it ends with the row it has come to, but each row is measured once.
"""

import random
import subprocess
import sys
import time

from . import limits
from .model import Result
from .store import Run

HOPELESS = ("timeout", "not in force", "no reference")  # it would be so again, and costs much time
FEWEST_ROUNDS = 3


class Progress:
    """A line that says how far it is, and about how much time is left."""

    def __init__(self, planned_seconds):
        self.begin, self.left, self.pace = time.monotonic(), planned_seconds, 1.0
        self.expected = self.spent = 0.0
        self.shown = 0.0

    def done(self, expected, took, text):
        self.expected += expected
        self.spent += took
        self.left -= expected
        if self.expected:
            self.pace = self.spent / self.expected
        tty = sys.stderr.isatty()
        if not tty and time.monotonic() - self.shown < 20:
            return
        self.shown = time.monotonic()
        line = f"{clock(self.shown - self.begin)} gone, about {clock(max(self.left, 0) * self.pace)} left: {text}"
        print(f"\r{line[:110]:<110}" if tty else line, end="" if tty else "\n", file=sys.stderr, flush=True)


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Measurement:
    def __init__(self, rows, allocators, rounds, seconds, with_limits, journal, past):
        self.rows, self.allocators, self.rounds, self.seconds = rows, allocators, rounds, seconds
        self.with_limits = with_limits
        self.journal, self.runs = journal, list(past)
        self.done = {run.key for run in past}
        self.hopeless = {(r.row, r.allocator) for r in past if r.result.status in HOPELESS}
        self.took = {}  # row name -> seconds of its last run
        self.rounds_done = 0  # whole ones
        self.progress = Progress(sum(self.guess(row) * len(allocators) * self.rounds_of(row) for row in rows))

    def rounds_of(self, row):
        return min(row.rounds or self.rounds, self.rounds)

    def guess(self, row):
        return self.took.get(row.name, row.seconds)

    def one(self, row, turn, allocator):
        key = (row.name, turn, allocator.name)
        if key in self.done or (row.name, allocator.name) in self.hopeless:
            return
        begin, expected = time.monotonic(), row.seconds
        try:
            result = row.run(allocator)
        except (OSError, subprocess.SubprocessError, ValueError) as error:  # one row must not end it all
            result = Result("could not be run", note=f"{type(error).__name__}: {error}"[:120])
        self.keep(Run(row.name, turn, allocator.name, result))
        self.took[row.name] = time.monotonic() - begin
        self.progress.done(expected, self.took[row.name],
                           f"round {turn + 1} of {self.rounds}, {row.name}, {allocator.name}")

    def keep(self, run):
        if run.round > 0:
            run.result.series = []  # one run's is enough for a plot, and all of them are megabytes
        self.runs.append(run)
        self.done.add(run.key)
        self.journal.add(run)
        if run.result.status in HOPELESS:
            self.hopeless.add((run.row, run.allocator))

    def round(self, turn, end):
        """Whether the round was whole: the first one is, others end when the time is up."""
        rows = [row for row in self.rows if turn < self.rounds_of(row)]
        for row in random.sample(rows, len(rows)):
            if turn > 0 and time.monotonic() >= end:
                return False
            for allocator in random.sample(self.allocators, len(self.allocators)):
                self.one(row, turn, allocator)
        return True

    def limits(self):
        """The limits of the micro rows, once each."""
        print("limits of the small benchmarks ...", file=sys.stderr, flush=True)
        for row in self.rows:
            for kind in (limits.BUMP, limits.LIVE) if hasattr(row, "micro") else ():
                if (row.name, 0, kind) not in self.done:
                    self.keep(Run(row.name, 0, kind, limits.run(row, kind)))

    def all(self):
        """Measures everything; why it stopped early, or ""."""
        begin, reason = time.monotonic(), ""
        try:
            if self.with_limits:
                self.limits()
            for turn in range(self.rounds):
                start = time.monotonic()
                whole = self.round(turn, begin + self.seconds)
                now = time.monotonic()
                self.rounds_done += whole
                if not whole:
                    reason = f"stopped in round {turn + 1} of {self.rounds}: the time is up; --resume goes on"
                    break
                if turn + 1 >= FEWEST_ROUNDS and now - begin + (now - start) > self.seconds \
                        and turn + 1 < self.rounds:
                    reason = f"stopped after {turn + 1} of {self.rounds} rounds: the time is up"
                    break
        except KeyboardInterrupt:
            reason = "interrupted; the same command with --resume goes on"
        if sys.stderr.isatty():
            print(file=sys.stderr)
        return reason
