"""The report on the terminal."""

from .model import FIELD, INFO, MEMORY, TIME
from .store import measures_of

TITLES = {TIME: "time", MEMORY: "peak memory"}


def number(value):
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 10000 else f"{value:.4g}"


def cell_text(cell):
    return cell.failed or number(cell.median)


def ratio_text(ratio):
    return f"{ratio.value:.2f}" if ratio else "-"


def table(analysis, title, lines):
    """lines: (row, measure)"""
    if not lines:
        return
    names = analysis.names
    widths = {n: max(11, len(n) + 1) for n in names}
    print(f"\n{title}\n{'row':<20}{'unit':<17}" + "".join(f"{n:>{widths[n]}}" for n in names)
          + f"{'to best':>9}{'to glibc':>9}")
    for row, measure in lines:
        cells = [(n, cell_text(analysis.cell(row, n, measure))) for n in names]
        best = analysis.ratio(row, measure, analysis.best_other(row, measure))
        glibc = analysis.ratio(row, measure, "glibc")
        print(f"{row['name'][:19]:<20}{measure.unit[:16]:<17}"
              + "".join(f"{text[:widths[n] - 1]:>{widths[n]}}" for n, text in cells)
              + f"{ratio_text(best):>9}{ratio_text(glibc):>9}")


def print_means(analysis):
    print("\nGeometric means of hakmem / other (below 1: hakmem is better)")
    for title, kind, line in analysis.means():
        print(f"  {title}, {TITLES[kind]}: " + ", ".join(
            f"{'best other' if n == 'best' else n} {mean:.3f}" for n, (mean, _) in line.items() if mean)
            + f"  ({line['best'][1]} rows)")


def print_behind(part):
    print(f"\n{part.title} ({part.about}): {len(part.ratios)}" if part.ratios else f"\n{part.title}: none")
    for r in part.ratios:
        print(f"  {r.value:<6.2f}[{r.low:.2f}, {r.high:.2f}]  {r.row:<23}{r.measure.unit:<17}to {r.against}")


def print_failures(analysis):
    lines = analysis.failures()
    print("\nFailures" + ("" if lines else ": none"))
    for name, row, bad, all_runs, what, note in lines:
        print(f"  {name:<11}{row:<20}{bad} of {all_runs} runs: {what}  {note}".rstrip())


def print_limits(analysis):
    lines = analysis.limits()
    if not lines:
        return
    print("\nLimits: a bump allocator that never frees (ns/op), live bytes (KiB)")
    for row, kind, mine, limit, ratio in lines:
        print(f"  {row['name']:<20}{kind:<8}{number(mine):>10} of {number(limit):>10}: {ratio:.2f}")
    print(analysis.limit_summary())


def report(analysis, skipped):
    for kind in (TIME, MEMORY):
        table(analysis, TITLES[kind].capitalize(),
              analysis.headlines(kind, [g for g in analysis.groups if g != FIELD]))
    table(analysis, "Other figures", [
        (row, m) for row in analysis.rows for m in measures_of(row)
        if row["group"] == FIELD or (not m.headline and m.kind != INFO)])
    for line in skipped:
        print(f"skipped {line}")
    print_limits(analysis)
    print_failures(analysis)
    print_means(analysis)
    for part in analysis.behind():
        print_behind(part)
    if analysis.warning:
        print(f"\n{analysis.warning}")


def report_agreement(shared, apart):
    """Exit status: 0 when at least 95 of 100 figures agree."""
    for row, measure, name, x, y in apart:
        print(f"  {row:<20}{measure.unit:<17}{name:<11}[{number(x.low)}, {number(x.high)}] against "
              f"[{number(y.low)}, {number(y.high)}]")
    good = shared - len(apart)
    share = good / shared if shared else 0
    print(f"{good} of {shared} figures agree: {100 * share:.1f} %")
    return 0 if share >= 0.95 else 1
