"""README.md's table of figures, out of RESULTS.md."""

import re

from .analysis import FEW
from .model import Refused
from .results_md import table

COLUMNS = ["hakmem", "glibc", "mimalloc", "jemalloc", "tcmalloc"]
# The row and unit of RESULTS.md, and what README.md calls it.
ROWS = [("lua", "s cpu", "lua, s"),
        ("perl", "s cpu", "perl, s"),
        ("python_malloc", "s cpu", "python3 with `PYTHONMALLOC=malloc`, s"),
        ("node", "s cpu", "node, s"),
        ("gcc", "s cpu", "gcc -O2, s"),
        ("sqlite", "s cpu", "sqlite3, s"),
        ("redis", "us/request", "redis, µs a request"),
        ("postgres", "us/request", "PostgreSQL, µs a request"),
        ("mixed8192/1", "ns/op", "1 thread, some 4,000 blocks of up to 1 KiB, ns"),
        ("larson/4", "ns/op", "4 threads, blocks outlive them, ns"),
        ("prodcons/4", "ns/op", "2 threads allocate, 2 free, ns"),
        ("alltoall50_2k/16", "ns/op", "16 threads, half freed by others, ns"),
        ("threadchurn/4", "ns/op", "short threads, 4 at a time, ns each")]
BEGIN, END = "<!-- figures: bench/compare --readme writes them -->\n", "<!-- end of figures -->\n"


def read_rows(results):
    """{(section, row, unit): {allocator: figure}} of RESULTS.md's tables."""
    found, section, head = {}, "", []
    for line in results.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| row |"):
            head = cells
        elif line.startswith("| ") and len(cells) == len(head):
            found[section, cells[0], cells[1]] = dict(zip(head[2:], cells[2:]))
    return found


def rounded(figure, factor=1.0):
    try:
        value = float(figure) * factor
    except ValueError:
        return figure  # why there is none
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def lacking(head):
    """The table's rows and columns that a comparison does not have."""
    rows = {row["name"] for row in head["rows"]}
    return [row for row, _, _ in ROWS if row not in rows] + [name for name in COLUMNS if name not in head["allocators"]]


def figures(results):
    """The table, and a line on what it was measured with."""
    measured = re.search(
        r"`bench/compare[^`]*`, (\S+) .*?: (\d+) rounds on (\d+ CPUs \(.*?\)), (Linux [\d.]+)\S*, (glibc \S+?),", results)
    if not measured:
        raise Refused("README.md's table: RESULTS.md does not say what it was measured on")
    date, rounds, cpus, linux, libc = measured.groups()
    found = read_rows(results)
    try:
        lines = [[name, *(f"{rounded(found['Time', row, unit][column])} / {rounded(found['Memory', row, 'KiB'][column], 1 / 1024)}"
                          for column in COLUMNS)] for row, unit, name in ROWS]
    except KeyError as error:
        raise Refused(f"README.md's table: RESULTS.md has no {error}") from error
    text = (f"Time / peak memory in MiB, less is better; {date}, {cpus}, {linux}, {libc}, medians of {rounds} rounds"
            f"{'' if int(rounds) >= FEW else ', which is few'}:\n\n")
    return text + "\n".join(table(["", "HAKMEM", *COLUMNS[1:]], lines))


def update(readme, results):
    """The text of README.md with the figures of RESULTS.md."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + figures(results) + "\n" + END + after
