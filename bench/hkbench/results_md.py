"""RESULTS.md: what is behind with its causes, the means, and every row."""

import re
from pathlib import Path

from .model import FIELD, MEMORY, TIME
from .process import BENCH
from .store import measures_of
from .text import cell_text, number, ratio_text

CAUSES = BENCH / "causes.txt"
NO_CAUSE = "not looked into"


def read_causes(path=CAUSES):
    """[(row pattern, unit pattern, text)]; a line is 'ROW | UNIT | cause', # begins a comment."""
    causes = []
    for line in Path(path).read_text().splitlines() if Path(path).exists() else []:
        if line.strip() and not line.startswith("#"):
            row, unit, text = (part.strip() for part in line.split(" | ", 2))
            causes.append((re.compile(row), re.compile(unit), text))
    return causes


def cause_of(ratio, causes):
    return next((text for row, unit, text in causes
                 if row.fullmatch(ratio.row) and unit.fullmatch(ratio.measure.unit)), NO_CAUSE)


def line(cells):
    return "| " + " | ".join(cells) + " |"


def table(head, rows):
    return [line(head), line(["---"] * len(head)), *map(line, rows), ""]


def summary(analysis):
    """How much is behind the best other allocator, and how much of it without a cause, in two sentences."""
    causes, parts = read_causes(), analysis.behind()
    lost, uncertain, at_end = (part.ratios for part in parts)
    unknown = sum(cause_of(r, causes) == NO_CAUSE for r in lost + uncertain + at_end)
    return (f"Behind the best other allocator: {parts[0].count} of time and memory for certain, "
            f"{sum(r.behind for r in lost)} of them by more than 5 %; {len(uncertain)} by more than 5 %, but not for certain; "
            f"and {len(at_end)} of RSS after the work by more than 5 %. For {unknown} of them the cause was {NO_CAUSE}.")


def behind(analysis):
    causes, out = read_causes(), []
    for part in analysis.behind():
        out += [f"## {part.title}", "", f"{part.count}: {part.about}." if part.ratios else "None.", ""]
        out += table(["row", "unit", "ratio", "interval", "to", "cause"], [
            [r.row, r.measure.unit, f"{r.value:.2f}", f"{r.low:.2f} to {r.high:.2f}", r.against,
             cause_of(r, causes)] for r in part.ratios]) if part.ratios else []
    return out


def means(analysis):
    out = ["## Means", "", "Geometric means of HAKMEM / other; below 1, HAKMEM is better. \"Best\" is the best "
           "other of each row.", ""]
    names = analysis.others + ["best"]
    rows = []
    for title, kind, values in analysis.means():
        rows.append([f"{title}, {'time' if kind == TIME else 'peak memory'} ({values['best'][1]} rows)"]
                    + [f"{values[n][0]:.2f}" if values[n][0] else "-" for n in names])
    return out + table(["over"] + names, rows)


def failures(analysis):
    found = analysis.failures()
    if not found:
        return ["## Failures", "", "None.", ""]
    return ["## Failures", ""] + table(["allocator", "row", "runs", "what", "said"], [
        [name, row, f"{bad} of {all_runs}", what, note.replace("|", "/")]
        for name, row, bad, all_runs, what, note in found])


def figures(analysis, title, lines):
    names = analysis.names
    out = [f"## {title}", ""]
    return out + table(["row", "unit"] + names + ["to best", "to glibc"], [
        [row["name"], m.unit] + [cell_text(analysis.cell(row, n, m)) for n in names]
        + [ratio_text(analysis.ratio(row, m, analysis.best_other(row, m))),
           ratio_text(analysis.ratio(row, m, "glibc"))] for row, m in lines])


def limits(analysis):
    found = analysis.limits()
    if not found:
        return []
    out = ["## Limits", "", "Time beside a bump allocator that never frees and whose memory is ready (its blocks "
           "are never warm, so less than 1 is possible); peak memory beside the live bytes.", "", analysis.limit_summary(), ""]
    by_row = {}
    for row, kind, mine, limit, ratio in found:
        by_row.setdefault(row["name"], {})[kind] = f"{number(mine)} / {number(limit)} = {ratio:.2f}"
    return out + table(["row", "ns/op: HAKMEM / bump", "KiB: HAKMEM / live"], [
        [name, kinds.get(TIME, "-"), kinds.get(MEMORY, "-")] for name, kinds in by_row.items()])


def machine(head):
    libraries = ", ".join(f"{n} {v}" for n, v in head["packages"].items() if n.startswith("lib"))
    return [f"`bench/compare --{head['extent']}`, {head['date']}: {head['rounds_done']} rounds on {head['cpus']} CPUs "
            f"({head['cpu']}), Linux {head['kernel']}, {head['libc']}, THP `{head['thp']}`, load at the start "
            f"{head['load']:.1f}; HAKMEM {head['commit']}; {libraries}. Medians; intervals hold the median with "
            "95 % confidence, below 6 rounds as if the noise were normal. Ratios are "
            "taken round by round. This file is written by the comparison; causes come from "
            "[causes.txt](causes.txt); every run stands in results.csv beside this file, or in the CSV of the run.", ""]


def page(analysis, skipped):
    usual = [g for g in analysis.groups if g != FIELD]
    beside = [(row, m) for row in analysis.rows for m in measures_of(row)
              if row["group"] != FIELD and not m.headline]
    field = [(row, m) for row in analysis.rows if row["group"] == FIELD for m in measures_of(row)]
    out = ["# Results", ""] + machine(analysis.head)
    out += [f"**{analysis.warning}.**", ""] if analysis.warning else []
    out += [summary(analysis), ""] + behind(analysis) + means(analysis)
    out += failures(analysis)
    out += figures(analysis, "Time", analysis.headlines(TIME, usual))
    out += figures(analysis, "Memory", analysis.headlines(MEMORY, usual))
    if field:
        out += figures(analysis, "Beside speed", field)
    out += figures(analysis, "Other figures", beside) + limits(analysis)
    out += [f"Not measured: {text}." for text in skipped]
    return "\n".join(out).rstrip() + "\n"
