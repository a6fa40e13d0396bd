"""Which rows a comparison has: its extent, what is installed, what was asked for."""

import re

from . import field, micro, programs, servers

QUICK, NORMAL, FULL = micro.QUICK, micro.NORMAL, micro.FULL
NAMES = {QUICK: "quick", NORMAL: "normal", FULL: "full"}
QUICK_PROGRAMS = {"python_malloc", "sqlite", "gcc", "redis"}
QUICK_FIELD = {"field_idle_threads", "field_fork_storm", "field_trivial", "field_startup"}
QUICK_SCALE = 0.3  # of the programs' work
# Rounds, and minutes after which no further round begins.
ROUNDS = {QUICK: 5, NORMAL: 5, FULL: 7}
MINUTES = {QUICK: 5, NORMAL: 40, FULL: 90}


def choose(extent, only):
    """The rows to measure, and a line about each that cannot run here."""
    pattern = re.compile(only)

    def wanted(name):
        return bool(pattern.search(name)) and (extent != QUICK or only or name in QUICK_PROGRAMS)

    rows = [row for row in micro.rows(extent) if pattern.search(row.name)]
    rows += [row for row in field.rows(extent == QUICK) if pattern.search(row.name)
             and (extent != QUICK or only or row.name in QUICK_FIELD)]
    skipped = []
    for module in (programs, servers):
        more, missing = module.rows(wanted, QUICK_SCALE if extent == QUICK else 1)
        rows += more
        skipped += missing
    return rows, skipped
