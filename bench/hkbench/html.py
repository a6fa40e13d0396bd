"""The report as one HTML file that needs nothing else: tables, and the plots inside it."""

import html
import re
import subprocess
import sys
from pathlib import Path

from .analysis import MINE
from .model import FIELD, INFO, MEMORY, TIME
from .process import BENCH
from .results_md import cause_of, read_causes, summary
from .store import measures_of
from .text import cell_text, number, ratio_text

INK = "#010203"  # what plots.py draws text and axes with
CAPTIONS = {
    "time-memory": ("Time against memory", "One dot an allocator, one plot a group of rows: geometric means of "
                    "each row's figure over the lowest of that row. Down and left is better."),
    "over-time": ("Resident size over time", "One run of each allocator."),
    "scaling": ("Scaling over threads", "Operations of all threads together; up is better."),
    "heat-time": ("Time, HAKMEM / other", "Blue and below 1: HAKMEM is faster."),
    "heat-memory": ("Memory, HAKMEM / other", "Blue and below 1: HAKMEM needs less."),
}
STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1a1a1a; --soft: #5c5c5c; --line: #d5d5d5;
        --band: #f4f4f4; --win: #005a8f; --loss: #a84300; --blue: #0072b2; --red: #d55e00; --green: #009e73; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e8e8e8; --soft: #a8a8a8; --line: #3a3d42; --band: #1f2226;
          --win: #6cb8ea; --loss: #ff9a57; --blue: #3f9fe0; --red: #f0762a; --green: #1fbf91; } }
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
       max-width: 1180px; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem } h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem }
p, figcaption { color: var(--soft); max-width: 75ch; margin: .2rem 0 .8rem }
nav a { margin-right: 1rem; color: var(--win) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child, .left { text-align: left } td.cause { white-space: normal; min-width: 22rem }
thead th { position: sticky; top: 0; background: var(--page) } tbody tr:nth-child(even) { background: var(--band) }
.win { color: var(--win); font-weight: 600 } .loss { color: var(--loss); font-weight: 600 }
.failed { color: var(--loss); font-style: italic } .best { text-decoration: underline }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; color: var(--ink) }
summary { cursor: pointer; margin: .6rem 0; font-weight: 600 }
"""


LEFT = ' class="left"'
LEFT_COLUMNS = {"row", "unit", "to", "cause", "what", "said", "kind"}
# Colours of the plots that are too dark on a dark page.
DARK_TOO = {"#0072b2": "--blue", "#d55e00": "--red", "#009e73": "--green"}


def python_with_matplotlib():
    for python in (sys.executable, "/usr/bin/python3"):
        probe = [python, "-c", "import matplotlib"]
        if Path(python).exists() and subprocess.run(probe, capture_output=True).returncode == 0:
            return python
    return None


def make_plots(results, directory):
    """The SVG files; none, and a line that says so, without matplotlib."""
    python = python_with_matplotlib()
    if not python:
        print("no plots: matplotlib is not installed (package python3-matplotlib)")
        return []
    run = subprocess.run([python, "-B", "-m", "hkbench.plots", str(results.resolve()),
                          str(directory.resolve())], cwd=BENCH, text=True, capture_output=True)
    if run.returncode != 0:
        print(f"no plots: {run.stderr.strip().splitlines()[-1]}")
        return []
    return [directory / f"{name}.svg" for name in run.stdout.split()]


def inline(path):
    """The SVG for use inside a page: no prolog, the page's ink, ids of its own."""
    text = path.read_text()
    text = text[text.index("<svg"):].replace(INK, "currentColor")
    name = path.stem
    for colour, variable in DARK_TOO.items() if not name.startswith("heat") else ():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|xlink:href="#)', lambda m: f"{m.group(1)}{name}-", text)
    return text


def cell(text, kind="", title=""):
    attributes = (f' class="{kind}"' if kind else "") + (f' title="{html.escape(title)}"' if title else "")
    return f"<td{attributes}>{text}</td>"


def ratio_cell(ratio):
    if not ratio:
        return cell("-")
    kind = "loss" if ratio.lost else "win" if ratio.won else ""
    return cell(ratio_text(ratio), kind, f"{ratio.low:.2f} to {ratio.high:.2f}, to {ratio.against}")


def table(head, rows):
    names = "".join(f'<th{LEFT if h in LEFT_COLUMNS else ""}>{html.escape(h)}</th>' for h in head)
    return (f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>'
            + "".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "</tbody></table></div>")


def figures(analysis, lines):
    rows = []
    for row, measure in lines:
        best = analysis.best_other(row, measure)
        line = [cell(html.escape(row["name"]), "", row["about"]), cell(html.escape(measure.unit), "left")]
        for n in analysis.names:
            c = analysis.cell(row, n, measure)
            interval = "" if c.failed or isinstance(c.median, str) else \
                f"{number(c.low)} to {number(c.high)}"
            line.append(cell(html.escape(cell_text(c)), "failed" if c.failed else "best" if n == best else "",
                             interval))
        rows.append(line + [ratio_cell(analysis.ratio(row, measure, best)),
                            ratio_cell(analysis.ratio(row, measure, "glibc"))])
    return table(["row", "unit"] + analysis.names + ["to best", "to glibc"], rows)


def means(analysis):
    names = analysis.others + ["best"]
    rows = []
    for title, kind, values in analysis.means():
        line = [cell(f"{title}, {'time' if kind == TIME else 'memory'}")]
        for n in names:
            mean = values[n][0]
            line.append(cell(f"{mean:.3f}", "win" if mean < 1 else "loss") if mean else cell("-"))
        rows.append(line)
    return table(["geometric mean over"] + [f"to {n}" for n in names], rows)


def behind(part):
    causes = read_causes()
    rows = [[cell(html.escape(r.row)), cell(html.escape(r.measure.unit), "left"), ratio_cell(r),
             cell(f"{r.low:.2f} to {r.high:.2f}"), cell(html.escape(r.against), "left"),
             cell(html.escape(cause_of(r, causes)), "left cause")] for r in part.ratios]
    return table(["row", "unit", "ratio", "interval", "to", "cause"], rows) if rows else "<p>None.</p>"


def failures(analysis):
    rows = [[cell(html.escape(name)), cell(html.escape(row), "left"), cell(f"{bad} of {count}"),
             cell(html.escape(what), "left failed"), cell(html.escape(note), "left")]
            for name, row, bad, count, what, note in analysis.failures()]
    return table(["allocator", "row", "runs", "what", "said"], rows) if rows else "<p>None.</p>"


def limits(analysis):
    rows = [[cell(html.escape(row["name"])), cell(kind, "left"), cell(number(mine)), cell(number(limit)),
             cell(f"{ratio:.2f}")] for row, kind, mine, limit, ratio in analysis.limits()]
    return table(["row", "kind", MINE, "limit", "ratio"], rows) if rows else "<p>Not measured.</p>"


def section(title, about, body, folded=False):
    name = re.sub(r"\W+", "-", title.lower())
    text = f"<p>{about}</p>" if about else ""
    if folded:
        return f'<h2 id="{name}">{title}</h2>{text}<details><summary>Show</summary>{body}</details>'
    return f'<h2 id="{name}">{title}</h2>{text}{body}'


def head_line(head):
    return (f"{head['date']}: bench/compare, {head['extent']}, {head['rounds_done']} rounds on {head['cpus']} CPUs "
            f"({head['cpu']}), {head['memory_mib']} MiB, Linux {head['kernel']}, {head['libc']}, THP {head['thp']}, "
            f"HAKMEM {head['commit']}.")


def packages(head):
    names = ", ".join(f"{n} {v}" for n, v in head["packages"].items())
    paths = "<br>".join(f"{html.escape(n)}: {html.escape(p)}" for n, p in head["allocators"].items())
    return f"<details><summary>Libraries and packages</summary><p>{paths}</p><p>{html.escape(names)}</p></details>"


def write(path, analysis, skipped, plots):
    usual = [g for g in analysis.groups if g != FIELD]
    beside = [(row, m) for row in analysis.rows for m in measures_of(row)
              if row["group"] != FIELD and not m.headline and m.kind != INFO]
    field = [(row, m) for row in analysis.rows if row["group"] == FIELD for m in measures_of(row)]
    parts = [section("Means", "HAKMEM / other over all rows of a kind; below 1, HAKMEM is better. \"Best\" is the "
                     "best other of each row.", means(analysis)),
             *(section(part.title, f"{part.count}: {part.about}.", behind(part)) for part in analysis.behind()),
             section("Failures", "", failures(analysis))]
    for plot in plots:
        title, about = CAPTIONS[plot.stem]
        parts.append(section(title, about, f"<figure>{inline(plot)}</figure>",
                             folded=plot.stem.startswith("heat")))
    parts.append(section("Time", "Medians; point at a figure for its interval. The best other is underlined.",
                         figures(analysis, analysis.headlines(TIME, usual))))
    parts.append(section("Memory", "", figures(analysis, analysis.headlines(MEMORY, usual))))
    if field:
        parts.append(section("Beside speed", "What users of allocators suffer from.", figures(analysis, field)))
    parts.append(section("Other figures", "", figures(analysis, beside), folded=True))
    parts.append(section("Limits", "A bump allocator that never frees (time), live bytes (memory). "
                         + analysis.limit_summary(),
                         limits(analysis), folded=True))
    if skipped:
        parts.append(section("Not measured", "", "<br>".join(html.escape(s) for s in skipped)))
    links = "".join(f'<a href="#{m.group(1)}">{m.group(2)}</a>'
                    for p in parts for m in [re.match(r'<h2 id="([^"]*)">([^<]*)', p)])
    Path(path).write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>HAKMEM compared</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>HAKMEM compared</h1><p>{html.escape(head_line(analysis.head))}</p>"
        f'<p class="loss">{html.escape(analysis.warning)}</p><p>{html.escape(summary(analysis))}</p>'
        f"{packages(analysis.head)}<nav>{links}</nav>"
        + "\n".join(parts) + "</body></html>\n", encoding="utf-8")
