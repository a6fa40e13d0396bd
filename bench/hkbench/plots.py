"""The plots, as SVG and PNG, with matplotlib (Debian: python3-matplotlib).

usage: python3 -m hkbench.plots RESULTS.json DIRECTORY        (from bench/)

A process of its own, because the python3 that runs the comparison may not have matplotlib.  Prints
the names of the plots it made.  Colours are Okabe and Ito's, which colour-blind people can tell
apart; allocators differ in their marks and lines too.  Text and axes have a colour that html.py
replaces by that of the page, so that the SVGs do in light and dark.
"""

import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the line above: no display here)
from matplotlib.colors import LinearSegmentedColormap  # noqa: E402

from . import stats, store  # noqa: E402
from .analysis import MINE, Analysis  # noqa: E402
from .model import FIELD, MEMORY, TIME  # noqa: E402

INK = "#010203"  # stands for the page's own text colour
STYLES = [("#D55E00", "o", "-"), ("#0072B2", "s", "--"), ("#009E73", "^", "-."), ("#CC79A7", "D", ":"),
          ("#E69F00", "v", (0, (5, 1, 1, 1))), ("#56B4E9", "P", (0, (1, 1))), ("#999999", "X", (0, (3, 2)))]
LOSS, EVEN, WIN = "#D55E00", "#F7F7F7", "#0072B2"


def style(analysis, name):
    if name == "glibc":
        return STYLES[-1]
    return STYLES[[n for n in analysis.names if n != "glibc"].index(name) % (len(STYLES) - 1)]


def bare(axes):
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


# ---- time against memory ----

def relative(analysis, group, kind):
    """{allocator: geometric mean over the group's rows of its figure / the lowest one's}."""
    factors = {n: [] for n in analysis.names}
    for row, measure in analysis.headlines(kind, [group]):
        cells = {n: analysis.cell(row, n, measure) for n in analysis.names}
        good = {n: c.median for n, c in cells.items() if not c.failed and c.median}
        for n, value in good.items():
            factors[n].append(value / min(good.values()))
    return {n: stats.geometric_mean(v) for n, v in factors.items() if v}


def time_memory(analysis):
    groups = [g for g in analysis.groups if g != FIELD and analysis.headlines(MEMORY, [g])]
    if not groups:
        return None
    columns = min(3, len(groups))
    lines = math.ceil(len(groups) / columns)
    figure, grid = plt.subplots(lines, columns, figsize=(4.2 * columns, 3.5 * lines), squeeze=False)
    for axes, group in zip(grid.flat, groups):
        times, sizes = relative(analysis, group, TIME), relative(analysis, group, MEMORY)
        for n in analysis.names:
            if n in times and n in sizes:
                colour, mark, _ = style(analysis, n)
                axes.scatter(times[n], sizes[n], s=110 if n == MINE else 65, color=colour, marker=mark,
                             zorder=3 if n == MINE else 2, label=n)
        axes.set_title(group)
        axes.set_xlabel("time, × the lowest")
        axes.set_ylabel("memory, × the lowest")
        axes.margins(0.15)
        axes.grid(alpha=0.25)
        bare(axes)
    for axes in grid.flat[len(groups):]:
        axes.set_visible(False)
    handles = {}
    for axes in grid.flat:
        handles |= {label: h for h, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncol=len(handles), frameon=False)
    figure.tight_layout(rect=(0, 0.03 + 0.05 / lines, 1, 1))
    return figure


# ---- heat map of ratios ----

def heat_map(analysis, kind):
    lines = analysis.headlines(kind, [g for g in analysis.groups if g != FIELD])
    others = analysis.others
    if not lines or not others:
        return None
    table = [[analysis.ratio(row, m, n) for n in others] for row, m in lines]
    shown = [[max(-1.5, min(1.5, math.log2(r.value))) if r else math.nan for r in line] for line in table]
    rows = [row["name"] for row, _ in lines]
    labels = [row["name"] + (f", {m.unit}" if rows.count(row["name"]) > 1 else "") for row, m in lines]
    figure, axes = plt.subplots(figsize=(2.6 + 0.95 * len(others), 1.2 + 0.24 * len(lines)))
    colours = LinearSegmentedColormap.from_list("ratio", [WIN, EVEN, LOSS])
    colours.set_bad("#BBBBBB")
    axes.imshow(shown, cmap=colours, vmin=-1.5, vmax=1.5, aspect="auto")
    for y, line in enumerate(table):
        for x, r in enumerate(line):
            red, green, blue, _ = colours((shown[y][x] + 1.5) / 3) if r else (1, 1, 1, 1)
            dark = 0.2126 * red ** 2.2 + 0.7152 * green ** 2.2 + 0.0722 * blue ** 2.2 < 0.18  # white is easier to read then
            axes.text(x, y, f"{r.value:.2f}" if r else "failed", ha="center", va="center", fontsize=8,
                      color="white" if dark else "black")
    axes.set_xticks(range(len(others)), others)
    axes.set_yticks(range(len(lines)), labels, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.tight_layout()
    return figure


# ---- resident size over time ----

def series_of(analysis, row, name):
    runs = [r.result.series for r in analysis.runs(row, name) if r.result.status == "ok" and r.result.series]
    return runs[0] if runs else []


def over_time(analysis):
    wanted = ("spike/1", "fragment/1", "evict/1", "bursts/2", "field_idle_return", "redis", "redis_refill")
    rows = [row for row in analysis.rows if row["name"] in wanted and series_of(analysis, row, MINE)]
    if not rows:
        return None
    figure, grid = plt.subplots(len(rows), 1, figsize=(8.5, 3.1 * len(rows)), squeeze=False)
    for axes, row in zip(grid.flat, rows):
        for n in analysis.names:
            points = series_of(analysis, row, n)
            colour, _, dashes = style(analysis, n)
            axes.plot([ms / 1000 for ms, _ in points], [kib / 1024 for _, kib in points], color=colour,
                      linestyle=dashes, linewidth=2.4 if n == MINE else 1.5, label=n)
        axes.set_title(row["name"])
        axes.set_xlabel("seconds")
        axes.set_ylabel("resident MiB")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        bare(axes)
    figure.tight_layout()
    return figure


# ---- scaling over threads ----

def thread_counts(analysis):
    """{workload: {threads: row}} of workloads that were run with three numbers of threads or more."""
    found = {}
    for row in analysis.rows:
        workload, _, threads = row["name"].rpartition("/")
        if threads.isdigit():
            found.setdefault(workload, {})[int(threads)] = row
    return {w: rows for w, rows in found.items() if len(rows) >= 3}


def scaling(analysis):
    found = thread_counts(analysis)
    if not found:
        return None
    columns = min(3, len(found))
    lines = math.ceil(len(found) / columns)
    figure, grid = plt.subplots(lines, columns, figsize=(4.2 * columns, 3.5 * lines), squeeze=False)
    for axes, (workload, rows) in zip(grid.flat, found.items()):
        for n in analysis.names:
            points = []
            for threads, row in sorted(rows.items()):
                measure = store.measures_of(row)[0]
                cell = analysis.cell(row, n, measure)
                if not cell.failed:
                    points.append((threads, 1e3 * threads / cell.median))
            colour, mark, dashes = style(analysis, n)
            axes.plot(*zip(*points) if points else ([], []), color=colour, marker=mark, linestyle=dashes,
                      linewidth=2.4 if n == MINE else 1.5, label=n)
        axes.set_title(workload)
        axes.set_xlabel("threads")
        axes.set_ylabel("million operations/s")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(rows), [str(threads) for threads in sorted(rows)])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        bare(axes)
    for axes in grid.flat[len(found):]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0.03 + 0.05 / lines, 1, 1))
    return figure


PLOTS = {"time-memory": time_memory, "over-time": over_time, "scaling": scaling,
         "heat-time": lambda analysis: heat_map(analysis, TIME),
         "heat-memory": lambda analysis: heat_map(analysis, MEMORY)}


def set_ink(colour):
    for key in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color",
                "axes.titlecolor"):
        matplotlib.rcParams[key] = colour


def main():
    results, directory = Path(sys.argv[1]), Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["font.family"] = "DejaVu Sans"
    matplotlib.rcParams["svg.hashsalt"] = "hakmem"
    analysis = Analysis(*store.read_json(results))
    for name, draw in PLOTS.items():
        for suffix, ink in (("png", "black"), ("svg", INK)):
            set_ink(ink)
            figure = draw(analysis)
            if figure:
                figure.savefig(directory / f"{name}.{suffix}", dpi=130, transparent=suffix == "svg")
                plt.close(figure)
                if suffix == "svg":
                    print(name)


if __name__ == "__main__":
    main()
